-- Generated from dev/argocd/ by `make generate`. Do not edit: changes will be lost.

-- As `kubectl tracking wake`: what keeps the server asleep is undone.

local os = require("os")

-- Whether it sleeps by spec.sleep.
local function sleeps()
  local status = obj.status
  return type(status) == "table" and type(status.sleep) == "table" and status.sleep.cause ~= nil
end

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
  obj.metadata.annotations["tracking-operator.dev/wake"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
end
return obj
