"""From one address to another without a lost request: the pods first, what leads to them afterwards. Pure.

While a server moves, its pods are replaced by some that answer the hosts of both addresses, at the new path; what
leads requests to them knows both. Once only such pods are left, the new address is in use, and the way to the old
one is closed. The old host stays with the pods until something else replaces them, so that a move is one rolling
update.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracking_operator import naming
from tracking_operator.api.placement import AddressPlacement, Placement
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.kube.compare import first_difference
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.pod.server_pod import (
    ALLOWED_HOSTS,
    SERVER_CONTAINER,
    STATIC_PREFIX,
    build_pod_template,
)
from tracking_operator.resources.pod.tools import like
from tracking_operator.resources.server_address import Address
from tracking_operator.resources.server_model import ServerModel


@dataclass(frozen=True)
class Answered:
    """What the pods of a Deployment answer, as their arguments say."""

    hosts: frozenset[str] = frozenset()
    prefix: str = ""


def wanted_address(server: TrackingServer, placement: Placement) -> AddressPlacement:
    """Where the team wants its server: what it names counts, else what was decided."""
    asked = server.spec.access
    return AddressPlacement(host=asked.host or placement.host, path=asked.path or placement.path)


def move(
    placement: Placement,
    before: Placement | None,
    wanted: AddressPlacement,
    deployment: KubeObject | None,
    pods: Sequence[KubeObject],
) -> Placement:
    """Note where the server is, and where it goes."""
    if before is None:
        return placement.at(wanted, None, None)
    now, answered = before.address_in_use, answered_by(deployment)
    if wanted == now:
        return placement.at(now, None, _still_answered(before.former_host, answered))
    if not _has_arrived(deployment, pods, wanted):
        return placement.at(now, wanted, None)
    is_other_host = now.host != wanted.host
    return placement.at(wanted, None, _still_answered(now.host, answered) if is_other_host else None)


def without_needless_host(server: ServerModel, deployment: KubeObject | None) -> ServerModel:
    """Drop the former host if the pods are replaced anyway; another release's programs are no reason for that."""
    if not server.access.former_host or deployment is None:
        return server
    wanted = {"spec": {"template": build_pod_template(server)}}
    kept = like(deployment, wanted, server.names.former_scripts)
    difference = first_difference(
        _template(kept["spec"]["template"]), _template(deployment["spec"]["template"])
    )
    return server if difference is None else replace(server, access=replace(server.access, former_host=""))


def is_address_change(placement: Placement, before: Placement | None) -> bool:
    """Whether the server sets out for another address than before."""
    return before is not None and placement.addresses[-1] not in before.addresses


def address_change_message(before: Address, after: Address) -> str:
    """What to tell everybody about a change of address."""
    old, new = str(before), str(after)
    if old == new:  # people write the class's publicURL, whatever the server's own host is
        old, new = before.host or "no host of its own", after.host or "no host of its own"
    sentences = [f"The server moves from {old} to {new}, where it answers once all its pods are replaced."]
    if before.path != after.path:
        sentences.append("From then on the old path answers 404.")
    if before.host and before.host != after.host:
        sentences.append(f"From then on nothing leads requests for {before.host} to the server.")
    return " ".join(sentences)


def answered_by(deployment: KubeObject | None) -> Answered:
    """What the pods of the newest template answer."""
    template = (deployment or {}).get("spec", {}).get("template", {})
    return _answered_by_pod(template) or Answered()


def _answered_by_pod(pod: KubeObject) -> Answered | None:
    """What a pod, or those of a template, answer; None if no server is in it."""
    for container in pod.get("spec", {}).get("containers") or ():
        if container["name"] == SERVER_CONTAINER:
            arguments = container.get("args") or ()
            hosts = _value_of(ALLOWED_HOSTS, arguments).split(",")
            return Answered(frozenset(hosts), _value_of(STATIC_PREFIX, arguments))
    return None


def _value_of(option: str, arguments: Sequence[str]) -> str:
    return next((one.removeprefix(option) for one in arguments if one.startswith(option)), "")


def _has_arrived(deployment: KubeObject | None, pods: Sequence[KubeObject], wanted: AddressPlacement) -> bool:
    """Whether nobody is left who answers at the old address only; where no pod serves, nobody is.

    A pod that is about to stop counts: requests come to it until every node and every controller has heard of its end.
    """
    if deployment is None or not (deployment.get("status") or {}).get("availableReplicas"):
        return True
    left = [_answered_by_pod(pod) for pod in pods if not _has_ended(pod)]
    everybody = [answered_by(deployment), *(one for one in left if one is not None)]
    is_replaced = is_rolled_out(deployment, deployment["spec"].get("replicas", 1))
    return is_replaced and all(_answers_at(one, wanted) for one in everybody)


def _answers_at(answered: Answered, wanted: AddressPlacement) -> bool:
    is_known = not wanted.host or wanted.host in answered.hosts
    return is_known and answered.prefix == naming.url_prefix(wanted.path)


def _has_ended(pod: KubeObject) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _still_answered(host: str | None, answered: Answered) -> str | None:
    return host if host and host in answered.hosts else None


def _template(template: KubeObject) -> KubeObject:
    """A pod template as something that can be compared: metadata of its own has labels of others in it."""
    return {"spec": template}
