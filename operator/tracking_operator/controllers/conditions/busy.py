"""What conditions say while a store is busy with others' requests, which tells nothing about the server itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tracking_operator.api.conditions import Condition, Reason, reason_of
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, problem

KEPT_FOR: Final = timedelta(seconds=60)
"""How long a server's conditions stay as they were found last. Whoever waits longer than that is told why."""

_TELLS_NOTHING: Final = (Reason.BUSY, Reason.PENDING)


@dataclass
class BusyMemory:
    """Since when one server waits for a store that is busy; None while it does not."""

    since: datetime | None = None


def kept_while_busy(
    results: Iterable[ConditionResult],
    before: Sequence[Condition],
    generation: int | None,
    memory: BusyMemory,
    now: datetime,
) -> list[ConditionResult]:
    """The results, of which those that only say *busy*, or wait for these, are as they were found last.

    After a restart all servers ask their PostgreSQL at once. Each would say Busy for a moment, and be written twice.
    What was found for another ``generation`` of the resource is not kept.
    """
    found = list(results)
    if not any(one.reason is Reason.BUSY for one in found):
        memory.since = None
        return found
    memory.since = memory.since or now
    if now - memory.since > KEPT_FOR:
        return found
    known = {one.type: one for one in before if one.observed_generation == generation}
    return [_as_found_last(one, known.get(one.type.value)) for one in found]


def _as_found_last(result: ConditionResult, last: Condition | None) -> ConditionResult:
    if result.reason not in _TELLS_NOTHING or last is None:
        return result
    try:
        reason = reason_of(last.reason)
    except KeyError:  # a newer release's word
        return result
    if last.is_true:
        return ConditionResult(result.type, Verdict.OK, reason, last.message)
    return problem(result.type, reason, last.message)
