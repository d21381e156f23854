"""The step that decides: where a server is, whether it may be so, and that its address is its own."""

from dataclasses import dataclass

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.address.claims import AddressClaims
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.managed_stores.loop import ManagedStores
from tracking_operator.controllers.server.plan import Plan, ReconcileSettings, make_plan, spec_result
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.spec.inputs import inputs_of
from tracking_operator.controllers.server.spec.placement import placement_of
from tracking_operator.controllers.server.spec.placement_from_marks import NOTHING_FOUND, Found
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure
from tracking_operator.kube.cache import ObjectCache


@dataclass(frozen=True)
class Unplanned:
    """A server that nothing can be made for now, and what it waits for."""

    waits_for: str


@dataclass(frozen=True)
class Planning:
    """Plans servers; what a specification asks for and cannot have is said in the conditions."""

    cache: ObjectCache
    settings: ReconcileSettings
    addresses: AddressClaims
    stores: ManagedStores

    async def plan(self, context: ReconcileContext) -> StepResult[Plan | Unplanned]:
        """Decide, and claim the address."""
        resource, report = context.resource, Report()
        try:
            plan = self._plan(resource)
            if placement_of(resource) is None:
                found = report.take(await self.stores.find(plan, context.memory))
                if found is None:
                    report.add(spec_result(plan))
                    return report.as_result(Unplanned("the stores to be asked"))
                plan = self._plan(resource, found)
        except Failure as failure:
            report.add_failure(failure, ConditionType.SPEC_VALID)
            if failure.reason is Reason.CONFLICT:
                report.look_again(UNWATCHED_RETRY_SECONDS)
            return report.as_result(Unplanned("a valid specification"))
        report.add(spec_result(plan))
        return report.as_result(plan)

    def _plan(self, resource: TrackingServer, found: Found = NOTHING_FOUND) -> Plan:
        """Decide, and claim the address. Raises Failure: the specification cannot be carried out."""
        try:
            plan = make_plan(resource, inputs_of(resource, self.cache), self.settings, found=found)
        except Failure:
            self.addresses.withdraw(resource)
            raise
        self.addresses.claim(resource, plan.model)
        return plan
