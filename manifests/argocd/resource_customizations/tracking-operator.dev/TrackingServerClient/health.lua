-- Generated from dev/argocd/ by `make generate`. Do not edit: changes will be lost.

-- The kind follows kstatus: status.observedGeneration, the condition Ready, and the conditions Reconciling and Stalled, which are
-- there only while they are true. Messages are those of Ready, which say what is wrong and what to do.

-- What the operator is at, or what passes without anybody's help. With another reason something is wrong.
local WORKING = {
  Pending = true,
  Progressing = true,
  VolumePending = true,
  AddressChanging = true,
  RolloutInProgress = true,
  Deleting = true,
  NamespaceTerminating = true,
  Busy = true,
  IdentityPending = true,
  RotatingCredentials = true,
  RevokingAccess = true,
  AddressPending = true,
  SchemaMissing = true,
  SchemaBehind = true,
}

local function member(value, name)
  if type(value) == "table" then
    return value[name]
  end
  return nil
end

local function conditions_by_type()
  local found = {}
  local listed = member(obj.status, "conditions")
  if type(listed) == "table" then
    for _, condition in ipairs(listed) do
      local name = member(condition, "type")
      if type(name) == "string" then
        found[name] = condition
      end
    end
  end
  return found
end

local conditions = conditions_by_type()
local ready = conditions["Ready"]

local function is_true(name)
  return member(conditions[name], "status") == "True"
end

local function health(status)
  local message = member(ready, "message")
  if type(message) ~= "string" then
    message = ""
  end
  return {status = status, message = message}
end

local function is_reported()
  local generation = member(obj.metadata, "generation")
  return generation ~= nil
    and member(obj.status, "observedGeneration") == generation
    and member(ready, "observedGeneration") == generation
end

-- Ready is first written together with the others, and is false then. Where it is younger than one of them, it has been true.
local function has_been_ready()
  local since = member(ready, "lastTransitionTime")
  for _, condition in pairs(conditions) do
    local other = member(condition, "lastTransitionTime")
    if type(since) == "string" and type(other) == "string" and other < since then
      return true
    end
  end
  return false
end

if member(obj.metadata, "deletionTimestamp") ~= nil then
  return health("Progressing")
end

if not is_reported() then
  return {status = "Progressing", message = "The operator has not looked at the latest change yet."}
end

if is_true("Stalled") then
  return health("Degraded")
end

if is_true("Reconciling") then
  local reason = member(ready, "reason")
  local is_at_work = type(reason) == "string" and WORKING[reason]
  -- Degraded ends a sync at once, so what may pass is none of that while something has never been ready: a Secret may come later.
  if not is_true("Ready") and not is_at_work and has_been_ready() then
    return health("Degraded")
  end
  return health("Progressing")
end

if is_true("Ready") then
  return health("Healthy")
end

if member(ready, "reason") == "Suspended" then
  return health("Suspended")
end

return health("Progressing")
