"""What a plan says of a server, and the model of one whose specification is refused."""

import pytest

from tests.unit.examples import (
    POSTGRES,
    SETTINGS,
    Manifest,
    placed,
    plan_of,
    postgres_class,
    postgres_store,
    server,
    tracking_class,
)
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.conditions.condition_result import Verdict
from tracking_operator.controllers.server.plan import Plan, model_of_what_runs, spec_result
from tracking_operator.failures import Invalid


def running(spec: Manifest, created: Plan) -> TrackingServer:
    """A server that was made before, now with this specification."""
    return server(spec, status=placed(created) | {"version": "3.17.2"})


def test_a_valid_specification_is_said_to_be_permitted() -> None:
    condition_result = spec_result(plan_of(server(), postgres_class()))
    assert (condition_result.type, condition_result.verdict) == (ConditionType.SPEC_VALID, Verdict.OK)
    assert (condition_result.reason, condition_result.message) == (
        Reason.AS_EXPECTED,
        "Permitted by class 'standard'.",
    )


def test_a_note_makes_no_specification_invalid() -> None:
    created = plan_of(server(), tracking_class(is_default=True))
    condition_result = spec_result(plan_of(running({}, created), postgres_class()))
    assert (condition_result.verdict, condition_result.reason) == (Verdict.OK, Reason.RESOLVED_DIFFERS)
    assert "'postgres' as the backend store" in condition_result.message


class TestWhatRuns:
    """The model of a server whose class or specification cannot be followed any more."""

    @pytest.mark.parametrize(
        ("spec", "class_spec"),
        [
            ({}, {}),
            ({"image": "their/mlflow", "version": "3.17.2"}, {"postgres": POSTGRES}),
            ({"replicas": 50}, {"postgres": POSTGRES}),
            ({"backendStore": {"postgres": {"connectionLimit": 1}}}, {"postgres": POSTGRES}),
            ({"backendStore": {"sqlite": {}}}, {"postgres": POSTGRES}),
        ],
    )
    def test_is_still_on_its_own_database(self, spec: Manifest, class_spec: Manifest) -> None:
        created = plan_of(server(), postgres_class())
        refused = running(spec, created)
        with pytest.raises(Invalid):
            plan_of(refused, tracking_class(class_spec, is_default=True))

        model = model_of_what_runs(refused, SETTINGS, replicas=1)
        assert model is not None
        assert model.replicas == 1
        assert model.needs_migration_job
        store, before = postgres_store(model), postgres_store(created.model)
        assert (store.host, store.port, store.database) == (before.host, before.port, before.database)
        assert store.secret == before.secret

    def test_is_nothing_for_a_new_server(self) -> None:
        assert model_of_what_runs(server({"backendStore": {"postgres": {}}}), SETTINGS, replicas=0) is None
