"""What is said of a resource that this version of the operator cannot read. Pure.

A newer version has written it, or its CRD is newer. Its status may be what cannot be read, so that conditions are merged
into it as it is: all else in there, other conditions among that, stays for the version that knows it.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from tracking_operator.api.conditions import (
    PRESENT_WHILE_TRUE,
    Condition,
    ConditionType,
    Reason,
    merge_conditions,
)
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, summarise
from tracking_operator.kube.objects import KubeObject

MOST_NAMED: Final = 3
"""How many fields a message names; the log has all."""


def unreadable_result(error: ValidationError) -> ConditionResult:
    """Which fields cannot be read, and what to do. What somebody wrote there may be a secret and is not quoted."""
    problems = [f"{_path(one['loc'])} ({one['msg']})" for one in error.errors(include_input=False)]
    more = f" and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
    return ConditionResult(
        ConditionType.SPEC_VALID,
        Verdict.BLOCKED,
        Reason.INVALID_SPEC,
        f"This version of the operator cannot read {', '.join(problems[:MOST_NAMED])}{more}. What runs goes on as it is, and "
        "nothing is changed or deleted: bring the operator to the version that knows these fields, or write what this one "
        "knows.",
    )


def conditions_in(live: KubeObject) -> tuple[Condition, ...]:
    """The conditions of a resource that can be read."""
    found = []
    for raw in _raw_conditions(live):
        with suppress(ValidationError):
            found.append(Condition.model_validate(raw))
    return tuple(found)


def status_with(live: KubeObject, result: ConditionResult, now: datetime) -> tuple[KubeObject, Condition]:
    """The status as it is, but for what the result says of the specification and of the whole; and that of the whole."""
    generation = live["metadata"].get("generation", 0)
    wanted = summarise([result], "")
    merged = merge_conditions(conditions_in(live), wanted, observed_generation=generation, now=now)
    replaced = {*(condition.type for condition in wanted), *PRESENT_WHILE_TRUE}
    others = [one for one in _raw_conditions(live) if _type_of(one) not in replaced]
    conditions = [*(one.as_kubernetes() for one in merged), *others]
    status = (live.get("status") or {}) | {"observedGeneration": generation, "conditions": conditions}
    return status, merged[0]


def _raw_conditions(live: KubeObject) -> Sequence[KubeObject]:
    found = (live.get("status") or {}).get("conditions")
    return found if isinstance(found, list) else ()


def _type_of(raw: object) -> object:
    return raw.get("type") if isinstance(raw, dict) else None


def _path(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location)
