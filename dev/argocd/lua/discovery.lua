-- Which of the actions would do something: what `kubectl tracking` says of a server, in a word.

@HAS_CREDENTIALS@

@WHY_NO_BACKUP@

@SLEEPS@

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
