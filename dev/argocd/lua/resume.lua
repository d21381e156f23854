-- As `kubectl tracking wake`: what keeps the server asleep is undone.

local os = require("os")

@SLEEPS@

local spec = obj.spec
-- An empty table that a script adds is a list to Argo CD, so that none is added here.
if type(spec) == "table" and spec.suspend == true then
  spec.suspend = false
end
if type(spec) == "table" and spec.replicas == 0 then
  spec.replicas = 1
end
if sleeps() then
  if obj.metadata.annotations == nil then
    obj.metadata.annotations = {}
  end
  obj.metadata.annotations["@WAKE_ANNOTATION@"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
end
return obj
