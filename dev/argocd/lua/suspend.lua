-- As `kubectl tracking suspend`: no pods run, and everything else is kept.

if obj.spec == nil then
  obj.spec = {}
end
obj.spec.suspend = true
return obj
