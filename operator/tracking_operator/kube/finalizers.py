"""A finalizer on an object that others write, too: added and removed by itself, on this very object and no successor of its name."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import Kind, KubeObject


class Held(NamedTuple):
    """Which object it is, and the finalizers that it was read with."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    finalizers: Sequence[str]


async def set_finalizer(
    kube: KubeClient, cache: ObjectCache, held: Held, finalizer: str, *, present: bool
) -> KubeObject:
    """Add or remove a finalizer, and nothing else; return the object as it is then.

    Not by an apply: a team may have applied its object under the name of our field manager, and an apply without its fields would
    remove them. Raises ApiError; 409 if the finalizers have changed since.
    """
    others = [one for one in held.finalizers if one != finalizer]
    path = "/metadata/finalizers"
    try:
        answer = await kube.json_patch(
            held.kind,
            held.namespace,
            held.name,
            [
                {"op": "test", "path": "/metadata/uid", "value": held.uid},
                {"op": "test", "path": path, "value": list(held.finalizers) or None},
                {"op": "add", "path": path, "value": [*others, finalizer] if present else others},
            ],
        )
    except ApiError as error:
        if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            message = f"the finalizers of {held.namespace}/{held.name} have changed"
            raise ApiError(HTTPStatus.CONFLICT, "Conflict", message) from error
        raise
    cache.upsert(answer)
    return answer
