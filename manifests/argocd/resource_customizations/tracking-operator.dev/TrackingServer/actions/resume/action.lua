-- Generated from dev/argocd/ by `make generate`. Do not edit: changes will be lost.

-- As `kubectl tracking wake`: what keeps the server asleep is undone.

local spec = obj.spec
-- An empty table that a script adds is a list to Argo CD, so that none is added here.
if type(spec) == "table" and spec.suspend == true then
  spec.suspend = false
end
if type(spec) == "table" and spec.replicas == 0 then
  spec.replicas = 1
end
return obj
