"""How long a server may take to start: MLflow's imports are work of the processor, which a small CPU limit stretches."""

from decimal import Decimal
from typing import Final

from tracking_operator.kube.quantities import parse_quantity
from tracking_operator.resources.server_model import ServerModel

USUAL_SECONDS: Final = 180
LONGEST_SECONDS: Final = 1800
"""For 25m and one worker process; with less a server is ended before it answers, and the condition names the limit."""

CPU_SECONDS: Final = 45
"""What MLflow computes until it answers: 15 s (3.17.2 and 3.18.0), and as much again twice for slower processors and for what is
lost where a container gets its share of each 100 ms at once and then nothing."""
CPU_SECONDS_OF_A_FURTHER_WORKER: Final = 15


def cpu_limit(server: ServerModel) -> str | None:
    """The CPU limit of a server's pods, if it makes their start longer than usual."""
    limit = (server.resources.limits or {}).get("cpu")
    return limit if limit is not None and _needed(server, limit) > USUAL_SECONDS else None


def seconds_to_start(server: ServerModel) -> int:
    """How long a pod may take until MLflow answers in it."""
    limit = cpu_limit(server)
    return USUAL_SECONDS if limit is None else min(LONGEST_SECONDS, int(_needed(server, limit)))


def _needed(server: ServerModel, limit: str) -> Decimal:
    work = CPU_SECONDS + CPU_SECONDS_OF_A_FURTHER_WORKER * (server.workers - 1)
    try:
        amount = parse_quantity(limit)
    except ValueError:
        return Decimal(0)  # the specification is refused for it
    return Decimal(work) / amount if amount else Decimal(0)
