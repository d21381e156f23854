"""Scripts for Argo CD under Lua 5.1, with the libraries that Argo CD opens, and no others.

As `util/lua/lua.go` of github.com/argoproj/argo-cd has it: the base library, `package`, `table`, and an `os` with `time` and
`date` that has to be required. Values come and go by the rules of its `decodeValue` and of layeh.com/gopher-json. The interpreter
there is gopher-lua, which is Lua 5.1 written in Go; the one here is Lua 5.1 itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

import lupa.lua51

Value = Any
"""What JSON can hold; ``Any`` as tables of Lua come without types."""

OPEN: Final = [
    "_G",
    "_VERSION",
    "assert",
    "collectgarbage",
    "error",
    "getfenv",
    "getmetatable",
    "ipairs",
    "load",
    "loadstring",
    "module",
    "newproxy",
    "next",
    "package",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawset",
    "require",
    "select",
    "setfenv",
    "setmetatable",
    "table",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
]
CLOSE_ALL_OTHERS: Final = """
local open = {}
for _, name in ipairs({...}) do open[name] = true end
local date, time = os.date, os.time
debug.setmetatable("", nil) -- else ("x"):len() reaches the string library
for name in pairs(_G) do if not open[name] then _G[name] = nil end end
for name in pairs(package.loaded) do if not open[name] then package.loaded[name] = nil end end
package.loaders = {package.loaders[1]}
package.preload.os = function() return {date = date, time = time} end
"""


class ScriptError(Exception):
    """A script has raised an error."""


@dataclass(frozen=True)
class Script:
    """A script that can be run on one object after the other."""

    execute: Callable[[Value], Value]

    def __call__(self, obj: Value) -> Value:
        """Run it on an object; return what it answers, as JSON would have it. Raises ScriptError."""
        return self.execute(obj)


@cache
def script(text: str) -> Script:
    """Compile a script."""
    runtime = lupa.lua51.LuaRuntime(unpack_returned_tuples=True)
    runtime.execute(CLOSE_ALL_OTHERS, *OPEN)
    compiled = runtime.compile(text)

    def execute(obj: Value) -> Value:
        runtime.globals()["obj"] = _to_lua(runtime, obj)
        try:
            answer = compiled()
        except lupa.lua51.LuaError as error:
            raise ScriptError(str(error)) from error
        if lupa.lua51.lua_type(answer) != "table":
            raise ScriptError(f"expect table output from Lua script, not {lupa.lua51.lua_type(answer)}")
        return _from_lua(answer)

    return Script(execute)


def _to_lua(runtime: lupa.lua51.LuaRuntime, value: Value) -> Value:
    if isinstance(value, Mapping):
        table = runtime.table()
        for key, item in value.items():
            table[key] = _to_lua(runtime, item)
        return table
    if isinstance(value, list | tuple):
        return runtime.table(*(_to_lua(runtime, item) for item in value))
    return value


def _from_lua(value: Value) -> Value:
    if lupa.lua51.lua_type(value) != "table":
        return int(value) if isinstance(value, float) and value.is_integer() else value
    members = dict(value.items())
    if all(isinstance(key, int) for key in members):
        assert sorted(members) == list(range(1, len(members) + 1)), "sparse arrays are refused"
        return [_from_lua(members[key]) for key in sorted(members)]
    assert all(isinstance(key, str) for key in members), "keys of both kinds are refused"
    return {key: _from_lua(item) for key, item in members.items()}


def changed_by(action: Script, obj: Value) -> Value:
    """The object as an action leaves it: an empty table is what it was before, a map or a list. Raises ScriptError."""
    return _cleaned(action(obj), obj)


def _cleaned(after: Value, before: Value) -> Value:
    if after == [] and isinstance(before, dict):
        return before
    if isinstance(after, dict) and isinstance(before, dict):
        return {key: _cleaned(item, before.get(key)) for key, item in after.items()}
    if isinstance(after, list) and isinstance(before, list) and len(after) == len(before):
        return [_cleaned(item, old) for item, old in zip(after, before, strict=True)]
    return after


def merge_patch(before: Value, after: Value) -> dict[str, Value]:
    """What Argo CD sends to the API server after an action: the difference as a merge patch (RFC 7386)."""
    patch: dict[str, Value] = {key: None for key in before if key not in after}
    for key, item in after.items():
        old = before.get(key)
        if isinstance(item, dict) and isinstance(old, dict):
            if inner := merge_patch(old, item):
                patch[key] = inner
        elif key not in before or item != old:
            patch[key] = item
    return patch


def available(discovery: Script, obj: Value) -> list[dict[str, Value]]:
    """The actions that a discovery script offers, as `ExecuteResourceActionDiscovery` lists them."""
    found = cast(dict[str, dict[str, Value]], discovery(obj))
    return [{"name": name, **more} for name, more in found.items()]
