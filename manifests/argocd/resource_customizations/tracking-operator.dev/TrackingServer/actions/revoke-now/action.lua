-- Generated from dev/argocd/ by `make generate`. Do not edit: changes will be lost.

-- As `kubectl tracking rotate --revoke-now`: the annotation gets the time of this moment.

local os = require("os")

local function has_credentials()
  local status = obj.status
  if type(status) ~= "table" then
    return false
  end
  local artifacts = status.artifactStore
  return status.database ~= nil
    or (type(artifacts) == "table" and artifacts.kind == "s3")
    or status.loginRevision ~= nil
end

if not has_credentials() then
  error(
    "TrackingServer " .. tostring(obj.metadata.name) .. " in namespace " .. tostring(obj.metadata.namespace)
      .. " has no credentials that the operator has made, so there is nothing to replace: its stores are volumes, or somebody "
      .. "else's, and nobody logs in.",
    0
  )
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["tracking-operator.dev/revoke-now"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
