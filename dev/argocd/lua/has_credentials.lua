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
