-- As `kubectl tracking @COMMAND@`: the annotation gets the time of this moment.

local os = require("os")

@HAS_CREDENTIALS@

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
obj.metadata.annotations["@ANNOTATION@"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
