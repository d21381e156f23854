"""Whose an object in a client's namespace is: what may be changed, what is a Conflict, and what is on its way out."""

from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_client import TrackingServerClient
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.kube.apply import OwnerCheck, Ownership, is_being_deleted
from tracking_operator.kube.objects import KubeObject, describe

SECONDS_UNTIL_IT_IS_GONE: Final = 2.0


def client_owner_check(client: TrackingServerClient) -> OwnerCheck:
    """Tell whose a live object is, seen from this client."""

    def ownership(live: KubeObject) -> Ownership:
        if controlled_by(live, client.metadata.uid):
            return Ownership.LEAVING if is_being_deleted(live) else Ownership.OURS
        return Ownership.LEAVING if _belonged_to_predecessor(live, client) else Ownership.FOREIGN

    return ownership


def _belonged_to_predecessor(live: KubeObject, client: TrackingServerClient) -> bool:
    """Whether an earlier client of this name owned it: the garbage collector is about to remove it."""
    return any(
        one.get("controller")
        and (one["apiVersion"], one["kind"], one["name"])
        == (client.api_version, client.kind, client.metadata.name)
        for one in live["metadata"].get("ownerReferences") or ()
    )


def leaving_of(live: KubeObject) -> Waiting:
    """Say that something of an earlier client of the name has to go first."""
    return Waiting(
        Reason.PENDING, f"Waits for {describe(live)} to be gone.", retry_after=SECONDS_UNTIL_IT_IS_GONE
    )


def conflict_of(live: KubeObject) -> Invalid:
    """Say that a name is taken by something that is not the client's."""
    return Invalid(
        Reason.CONFLICT,
        f"{describe(live)} exists already and does not belong to this TrackingServerClient, so it is left alone: remove or rename it, or "
        "give the client another name.",
    )
