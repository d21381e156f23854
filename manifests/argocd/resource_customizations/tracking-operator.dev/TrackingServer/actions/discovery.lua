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

-- Whether it sleeps by spec.sleep.
local function sleeps()
  local status = obj.status
  return type(status) == "table" and type(status.sleep) == "table" and status.sleep.cause ~= nil
end

local spec = obj.spec
if type(spec) ~= "table" then
  spec = {}
end
local is_asleep = spec.suspend == true or spec.replicas == 0 or sleeps()

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
  ["backup"] = {["disabled"] = why_no_backup() ~= nil, ["iconClass"] = "fa fa-fw fa-archive", ["displayName"] = "Back up"},
}
