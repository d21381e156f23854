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
