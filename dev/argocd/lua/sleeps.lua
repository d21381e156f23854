-- Whether it sleeps by spec.sleep.
local function sleeps()
  local status = obj.status
  return type(status) == "table" and type(status.sleep) == "table" and status.sleep.cause ~= nil
end
