"""The step that measures how much a server has in its stores: now and then, beside the loop, and one of a namespace at a time.

A measurement begins at a resync, an hour after the last one. No look waits for it: a later one takes up what it has found.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.tracking_server import UsageStatus
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.managed_stores.loop import ManagedStores
from tracking_operator.controllers.server.usage.limits import remarks_on
from tracking_operator.failures import Failure
from tracking_operator.kube.events import EventRecorder
from tracking_operator.shares import Shares
from tracking_operator.timings import Timings

logger = logging.getLogger(__name__)

AT_A_TIME: Final = 4
"""How many servers are measured at the same time, each of another namespace."""
SECONDS_TO_WAIT_FOR_A_TURN: Final = 120.0


class UsageStep:
    """Measures servers, and remembers in their status what was found."""

    def __init__(
        self, stores: ManagedStores, events: EventRecorder, timings: Timings, now: Callable[[], datetime]
    ) -> None:
        self._stores = stores
        self._events = events
        self._timings = timings
        self._now = now
        self._turns = Shares(AT_A_TIME, 1)

    def look(self, context: ReconcileContext) -> StepResult[UsageStatus | None]:
        """What is known of the server; a measurement begins if it is time for one. None where there is nothing to measure."""
        memory = context.memory.usage
        if not self._stores.are_used_by(context.plan.model):
            return StepResult(None)
        known_since = memory.meet(context.now)
        known = memory.take() or context.resource.status.usage
        if memory.under_way is None and self._is_due(context, known, known_since):
            memory.under_way = asyncio.create_task(self._measured(context))
        pause = self._timings.between_looks_at_a_measurement if memory.under_way else None
        return StepResult(known, requeue_after=pause, remarks=self._remarks(context, known))

    def _is_due(self, context: ReconcileContext, known: UsageStatus | None, known_since: datetime) -> bool:
        """Whether to measure now: a server that serves, whose stores are as they should be, and not right after a start."""
        if not context.is_resync or not context.model.replicas or not self._stores.are_found(context):
            return False
        times = self._timings
        has_settled = context.now - known_since >= timedelta(seconds=times.until_the_first_measurement)
        return has_settled and (
            known is None or context.now - known.measured_at >= timedelta(seconds=times.between_measurements)
        )

    def _remarks(
        self, context: ReconcileContext, known: UsageStatus | None
    ) -> dict[ConditionType, ConditionResult]:
        """What conditions say of a server that has more than its class allows; an Event says it when that is new."""
        found = {remark.type: remark for remark in remarks_on(known, context.plan.chosen)} if known else {}
        for type_, remark in found.items():
            before = context.resource.status.condition(type_)
            if before is None or before.reason != remark.reason:
                self._events.record(context.live, "Warning", remark.reason.value, remark.message)
        return found

    async def _measured(self, context: ReconcileContext) -> UsageStatus | None:
        """Measure when it is the namespace's turn; None: it could not be done, and is tried again at another resync."""
        namespace = context.plan.model.namespace
        if not await self._turns.take(namespace, SECONDS_TO_WAIT_FOR_A_TURN):
            return None
        try:
            measured = await self._stores.measure(context)
        except Failure as failure:
            logger.info("What the server has in its stores could not be measured: %s", failure.message)
            return None
        finally:
            self._turns.give_back(namespace)
        return measured.as_of(self._now())
