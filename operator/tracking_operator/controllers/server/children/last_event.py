"""What the newest Event about an object says; it is data of the cluster, and quoted only in its server's own conditions."""

from collections.abc import Collection
from typing import Final

from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import EVENT, KubeObject, namespace_of, uid_of

MOST_EVENTS: Final = 100
"""A recorder posts 25 about one object, and one every five minutes (client-go, tools/record/events_cache.go)."""
MOST_BYTES: Final = 262_144
"""A recorder's message has at most 1 kB. Whoever may post Events into a namespace may post a hundred of a megabyte."""


async def words_of_last_event(kube: KubeClient, obj: KubeObject, reasons: Collection[str]) -> str | None:
    """The message of the newest Event with one of the reasons; None: there is none, or Events cannot be read."""
    # A field selector knows no alternatives.
    only = [f"reason={reason}" for reason in reasons] if len(reasons) == 1 else []
    chosen = ",".join([f"involvedObject.uid={uid_of(obj)}", *only])
    try:
        events = await kube.list(
            EVENT, namespace_of(obj), field_selector=chosen, limit=MOST_EVENTS, most_bytes=MOST_BYTES
        )
    except ApiError:
        return None
    told = [event for event in events if event.get("reason") in reasons]
    newest = max(told, key=_happened_at, default=None)
    return str(newest.get("message") or "") or None if newest else None


def _happened_at(event: KubeObject) -> str:
    return str(
        event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    )
