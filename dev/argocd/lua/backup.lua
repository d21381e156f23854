-- As `kubectl tracking backup`: a TrackingServerBackup that is called like the server and the moment. It has no owner, so that it
-- outlives the server, and no mark of the Application, which would prune what Git does not have.

local os = require("os")

@WHY_NO_BACKUP@

local why = why_no_backup()
if why ~= nil then
  error("TrackingServer " .. tostring(obj.metadata.name) .. " in namespace " .. tostring(obj.metadata.namespace) .. why, 0)
end
return {
  {
    ["operation"] = "create",
    ["resource"] = {
      ["apiVersion"] = "@API_VERSION@",
      ["kind"] = "TrackingServerBackup",
      ["metadata"] = {
        ["name"] = obj.metadata.name .. os.date("!-%Y%m%d-%H%M%S"),
        ["namespace"] = obj.metadata.namespace,
      },
      ["spec"] = {["serverRef"] = {["name"] = obj.metadata.name}},
    },
  },
}
