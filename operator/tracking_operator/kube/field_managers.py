"""Who owns which field of an object, as far as our own JSON patches blur it.

A JSON patch makes us owner by *update*; server-side apply only lets go of what we own by *apply*. A field
that one patch has put right would outlive the day on which it is no longer wanted, unless the ownership
is moved to the apply first (as client-go's ``csaupgrade`` does).
"""

from typing import TYPE_CHECKING

from tracking_operator.api.labels_and_annotations import FIELD_MANAGER
from tracking_operator.kube.objects import Kind, KubeObject

if TYPE_CHECKING:
    from tracking_operator.kube.client import KubeClient


def own_updates(obj: KubeObject) -> list[KubeObject]:
    """Return the entries of ``managedFields`` by which we own fields otherwise than by apply."""
    return [entry for entry in _entries(obj) if _is_own(entry, "Update")]


async def claim_own_updates(client: "KubeClient", kind: Kind, namespace: str | None, name: str) -> None:
    """Move what our patches own to our apply, so that the next apply can let go of it. Raises ApiError."""
    live = await client.get(kind, namespace, name)
    if live is None or not own_updates(live):
        return
    metadata = live["metadata"]
    unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
    entries = {
        "op": "replace",
        "path": "/metadata/managedFields",
        "value": claimed(metadata["managedFields"]),
    }
    await client.json_patch(kind, namespace, name, [unchanged, entries])


def claimed(entries: list[KubeObject]) -> list[KubeObject]:
    """Return ``managedFields`` with our updates merged into our apply."""
    ours = [entry for entry in entries if _is_own(entry, "Apply") or _is_own(entry, "Update")]
    others = [entry for entry in entries if entry not in ours]
    if not ours:
        return others
    fields: KubeObject = {}
    for entry in ours:
        fields = _union(fields, entry.get("fieldsV1") or {})
    return [*others, ours[-1] | {"operation": "Apply", "fieldsV1": fields}]


def _entries(obj: KubeObject) -> list[KubeObject]:
    entries: list[KubeObject] = obj["metadata"].get("managedFields") or []
    return entries


def _is_own(entry: KubeObject, operation: str) -> bool:
    return (
        entry.get("manager") == FIELD_MANAGER
        and entry.get("operation") == operation
        and not entry.get("subresource")
    )


def _union(one: KubeObject, other: KubeObject) -> KubeObject:
    return {key: _union(one.get(key, {}), other.get(key, {})) for key in one | other}
