-- Generated from dev/argocd/ by `make generate`. Do not edit: changes will be lost.

-- As `kubectl tracking backup`: a TrackingServerBackup that is called like the server and the moment. It has no owner, so that it
-- outlives the server, and no mark of the Application, which would prune what Git does not have.

local os = require("os")

-- Why a backup would wait, or be given up; nil where nothing is known against it.
local function why_no_backup()
  local status = type(obj.status) == "table" and obj.status or {}
  local placement, revision = status.placement, status.schemaRevision
  if obj.metadata.deletionTimestamp ~= nil then
    return " is being deleted, so that it cannot be backed up any more."
  end
  if type(placement) ~= "table" or type(revision) ~= "string" or revision == "" then
    return " has no database yet: it can be backed up once it has been ready."
  end
  if placement.backendStore ~= "postgres" or placement.artifactStore ~= "s3" then
    return " has no database on its class's PostgreSQL, or no prefix in its class's bucket: other stores are not backed up yet."
  end
  return nil
end

local why = why_no_backup()
if why ~= nil then
  error("TrackingServer " .. tostring(obj.metadata.name) .. " in namespace " .. tostring(obj.metadata.namespace) .. why, 0)
end
return {
  {
    ["operation"] = "create",
    ["resource"] = {
      ["apiVersion"] = "tracking-operator.dev/v1alpha1",
      ["kind"] = "TrackingServerBackup",
      ["metadata"] = {
        ["name"] = obj.metadata.name .. os.date("!-%Y%m%d-%H%M%S"),
        ["namespace"] = obj.metadata.namespace,
      },
      ["spec"] = {["serverRef"] = {["name"] = obj.metadata.name}},
    },
  },
}
