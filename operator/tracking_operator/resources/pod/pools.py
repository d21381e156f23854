"""How many database connections the pods of a live Deployment were told to keep."""

import re
from typing import Final

from tracking_operator.resources.server_model import KubeObject, ServerModel

_NUMBER: Final = re.compile(r"[0-9]{1,4}")
POOL_SIZE_VARIABLE: Final = "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"


def pool_of(deployment: KubeObject) -> int | None:
    """How many each engine keeps; None where nobody said so."""
    sizes = [
        one.get("value")
        for container in _containers(deployment)
        for one in container.get("env") or ()
        if one["name"] == POOL_SIZE_VARIABLE
    ]
    # Whoever may edit the Deployment may have written anything there.
    return int(sizes[0]) if sizes and _NUMBER.fullmatch(str(sizes[0])) else None


def with_pool(deployment: KubeObject, size: int) -> KubeObject:
    """The same Deployment, whose pods keep so many."""
    containers = [
        {**container, "env": [_resized(one, size) for one in container.get("env") or ()]}
        for container in _containers(deployment)
    ]
    spec = deployment["spec"]
    template = spec["template"]
    pod = {**template["spec"], "containers": containers}
    return {**deployment, "spec": {**spec, "template": {**template, "spec": pod}}}


def with_live_pool(desired: KubeObject, live: KubeObject, server: ServerModel) -> KubeObject:
    """The desired Deployment with the pools that the live one has, if they harm nobody: smaller ones, and those with room."""
    now, then = pool_of(live), pool_of(desired)
    if not now or not then or now == then:
        return desired
    return with_pool(desired, now) if now < then or server.has_room_for_pools(now) else desired


def _containers(deployment: KubeObject) -> list[KubeObject]:
    pod = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    return list(pod.get("containers") or ())


def _resized(variable: KubeObject, size: int) -> KubeObject:
    return {**variable, "value": str(size)} if variable["name"] == POOL_SIZE_VARIABLE else variable
