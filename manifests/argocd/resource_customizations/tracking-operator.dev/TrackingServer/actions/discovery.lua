-- Generated from dev/argocd/ by `make generate`. Do not edit: changes will be lost.

-- Which of the actions would do something: what `kubectl tracking` says of a server, in a word.

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

local spec = obj.spec
if type(spec) ~= "table" then
  spec = {}
end
local is_asleep = spec.suspend == true or spec.replicas == 0

return {
  ["suspend"] = {["disabled"] = spec.suspend == true, ["iconClass"] = "fa fa-fw fa-pause"},
  ["resume"] = {["disabled"] = not is_asleep, ["iconClass"] = "fa fa-fw fa-play"},
  ["rotate"] = {
    ["disabled"] = not has_credentials(),
    ["iconClass"] = "fa fa-fw fa-key",
    ["displayName"] = "Rotate credentials",
  },
  ["revoke-now"] = {
    ["disabled"] = not has_credentials(),
    ["iconClass"] = "fa fa-fw fa-ban",
    ["displayName"] = "Revoke all access now",
  },
}
