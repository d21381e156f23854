"""The JSON patch that turns a live object into a desired one, with all that others may add left alone."""

from collections.abc import Iterator
from typing import Any, Final

from tracking_operator.kube.compare import (
    Context,
    added_keys,
    entry_key,
    is_contained,
    merge_keys_of,
    rival_keys,
    same_value,
)
from tracking_operator.kube.objects import KubeObject

JsonPatchOperation = dict[str, Any]
"""One operation of RFC 6902: ``{"op": …, "path": …, "value": …}``."""

_NOT_WANTED: Final = {"apiVersion", "kind", "status"}


def patch_operations(desired: KubeObject, live: KubeObject) -> list[JsonPatchOperation]:
    """Return the operations after which the live object contains all that is desired."""
    return list(_operations(live, merged(desired, live), ""))


def merged(desired: KubeObject, live: KubeObject) -> KubeObject:
    """Return the live object with everything desired in it, and without what was added where it must not be."""
    wanted = {key: value for key, value in desired.items() if key not in _NOT_WANTED}
    result = dict(live)
    for key, value in wanted.items():
        result[key] = _merge(value, live.get(key), Context.root(key))
    return result


def _merge(desired: object, live: object, context: Context) -> object:
    if is_contained(desired, live, context):
        return live
    if isinstance(desired, dict) and isinstance(live, dict):
        return _merge_maps(desired, live, context)
    if isinstance(desired, list) and isinstance(live, list):
        return _merge_lists(desired, live, context)
    return live if same_value(desired, live, is_quantity=context.is_quantity) else desired


def _merge_maps(desired: KubeObject, live: KubeObject, context: Context) -> KubeObject:
    absent = (key for key, value in desired.items() if value is None)
    strangers = {*absent, *added_keys(desired, live, context), *rival_keys(desired, live, context)}
    kept = {key: value for key, value in live.items() if key not in strangers}
    # Of a volume, even an empty field says something: which sort of volume it is.
    stated = {
        key: value
        for key, value in desired.items()
        if value is not None and (key in live or value or strangers)
    }
    return kept | {key: _merge(value, live.get(key), context.field(key)) for key, value in stated.items()}


def _merge_lists(desired: list[Any], live: list[Any], context: Context) -> list[Any]:
    fields = merge_keys_of(context)
    if fields is None:
        return [*live, *(value for value in desired if value not in live)] if context.in_metadata else desired
    live_by_key = {entry_key(entry, fields): entry for entry in live}
    entries = {
        entry_key(entry, fields): _merge(entry, live_by_key.get(entry_key(entry, fields)), context.entry())
        for entry in desired
    }
    return list({**(live_by_key if context.in_metadata else {}), **entries}.values())


def _operations(before: object, after: object, path: str) -> Iterator[JsonPatchOperation]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _map_operations(before, after, path)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _operations(old, new, f"{path}/{index}")
    else:
        yield {"op": "replace", "path": path, "value": after}


def _map_operations(before: KubeObject, after: KubeObject, path: str) -> Iterator[JsonPatchOperation]:
    for key in before:
        if key not in after:
            yield {"op": "remove", "path": f"{path}/{pointer_token(key)}"}
    for key, value in after.items():
        if key not in before:
            yield {"op": "add", "path": f"{path}/{pointer_token(key)}", "value": value}
        else:
            yield from _operations(before[key], value, f"{path}/{pointer_token(key)}")


def pointer_token(key: str) -> str:
    """A key as one step of a JSON pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")
