"""The step that puts a server to sleep, and wakes it: its plan has no pods meanwhile."""

from dataclasses import replace

from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.sleep.decision import (
    SleepDecision,
    decide,
    sentence,
    while_suspended,
)
from tracking_operator.controllers.server.sleep.idle import IdleLook
from tracking_operator.kube.events import EventRecorder


class SleepStep:
    """Has servers sleep by ``spec.sleep``. What is suspended by its specification stays so, whatever that says."""

    def __init__(self, idle: IdleLook, events: EventRecorder) -> None:
        self._idle = idle
        self._events = events

    async def rest(self, context: ReconcileContext, plan: Plan) -> StepResult[Plan]:
        """The plan, without pods while the server sleeps."""
        if plan.model.replicas == 0:
            context.memory.idle.evict()
            context.sleep = while_suspended(context.resource)
            return StepResult(plan)
        decision, report = decide(context.resource, context.now), Report()
        if decision.is_asleep:
            context.memory.idle.evict()
        elif await self._has_been_idle(context, plan, report):
            decision = decide(context.resource, context.now, is_idle=True)
        if decision.changes_at is not None:
            report.look_again(max((decision.changes_at - context.now).total_seconds(), 0.0))
        context.sleep = decision.status
        if decision.is_asleep and decision.status is not None:
            self._announce(context, decision)
            why = sentence(context.resource, decision.status)
            plan = replace(plan, model=replace(plan.model, replicas=0, why_asleep=why))
        return report.as_result(plan)

    async def _has_been_idle(self, context: ReconcileContext, plan: Plan, report: Report) -> bool:
        """Whether nobody has asked it anything for as long as it says."""
        after = context.resource.spec.sleep.after_idle
        if after is None:
            context.memory.idle.evict()
            return False
        found = await self._idle.look(plan.model, context.memory.idle, seconds_in(after), context.now)
        report.look_again(found.look_again)
        return found.is_long_enough

    def _announce(self, context: ReconcileContext, decision: SleepDecision) -> None:
        """Say it once when a server goes to sleep."""
        before = context.resource.status.sleep
        if decision.status and not (before and before.cause):
            message = sentence(context.resource, decision.status)
            self._events.record(context.live, "Normal", Reason.SUSPENDED.value, message)
