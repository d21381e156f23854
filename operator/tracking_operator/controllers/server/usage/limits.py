"""What is said of a server that has more in its stores than its class allows. Pure."""

from collections.abc import Iterator

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server import UsageStatus
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.kube.quantities import parse_quantity, readable_bytes


def remarks_on(usage: UsageStatus, chosen: ChosenClass) -> Iterator[ConditionResult]:
    """A remark for each store that holds more than the class allows: its condition stays true."""
    limits = chosen.spec.limits
    for type_, what, size, limit, field in (
        (
            ConditionType.BACKEND_STORE_READY,
            "database",
            usage.database_bytes,
            limits.max_database_size,
            "maxDatabaseSize",
        ),
        (
            ConditionType.ARTIFACT_STORE_READY,
            "prefix",
            usage.artifact_bytes,
            limits.max_artifact_bytes,
            "maxArtifactBytes",
        ),
    ):
        if size is not None and limit is not None and size > parse_quantity(limit):
            yield ConditionResult(
                type_,
                Verdict.OK,
                Reason.USAGE_ABOVE_LIMIT,
                f"The server's {what} is in use and holds {readable_bytes(size)}. The {chosen.title} allows {limit} "
                f"(limits.{field}). Nothing is stopped: delete runs and artifacts and have mlflow gc remove them, or ask "
                "the platform team for a higher limit.",
            )
