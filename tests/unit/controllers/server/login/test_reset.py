"""When the Job that resets a login is made, left, and made anew; a real MLflow is reset in tests/stores and tests/e2e."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import (
    EXTERNAL_DATABASE,
    Manifest,
    model,
    postgres_class,
    program_and_arguments,
    secret,
)
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import COMPONENT_LABEL, SERVER_LABEL
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.login.reset import LoginReset, may_reset
from tracking_operator.controllers.server.login.unprobed import unprobed_result
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import CONFIG_MAP, JOB
from tracking_operator.resources.labels import MIGRATION_COMPONENT
from tracking_operator.resources.pod.login_reset_job import build_login_reset_job
from tracking_operator.resources.tools_archive import current_archive

BASIC: Manifest = {"access": {"authentication": {"basic": {}}}}
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLACE = (JOB, "team-a", "mlflow-reset-login")


class World:
    """A server whose admin MLflow refuses."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.server = model(BASIC, postgres_class())
        self.reset = LoginReset(self.api.as_client(), self.cache)
        self.change_secret("first")

    def change_secret(self, password: str) -> None:
        """Somebody, or the operator, writes the Secret."""
        owner = {"ownerReferences": [self.server.owner_reference]}
        written = secret("mlflow-auth", password=password)
        self.api.store(written | {"metadata": written["metadata"] | owner})

    async def look(self, seconds: float = 0) -> ConditionResult:
        """Let the informers catch up; look once."""
        self.catch_up()
        return await self.reset.ensure(self.server, NOW + timedelta(seconds=seconds))

    def catch_up(self) -> None:
        """Let the informers hear of all that there is."""
        known = self.cache.get(*PLACE)
        if known and PLACE not in self.api.objects:
            self.cache.remove(known)
        for (kind, *_), obj in self.api.objects.items():
            if kind in (JOB, CONFIG_MAP):
                self.cache.upsert(obj)
        self.api.calls.clear()

    def end(self, type_: str) -> None:
        """The Job comes to its end."""
        at = NOW.isoformat()
        status = {
            "conditions": [{"type": type_, "status": "True", "lastTransitionTime": at}],
            "completionTime": at,
        }
        self.api.store(self.api.objects[PLACE] | {"status": status})


async def test_one_job_is_made_with_the_programs_that_it_needs() -> None:
    world = World()
    told = await world.look()
    assert told.reason is Reason.LOGIN_REFUSED
    assert "mlflow-reset-login" in told.message
    assert (CONFIG_MAP, "team-a", current_archive().name) in world.api.objects
    assert "apply Job" in world.api.writes
    await world.look()
    assert world.api.writes == []


async def test_one_that_gets_no_pod_says_why() -> None:
    world = World()
    await world.look()
    job = world.api.objects[PLACE]
    said = 'Error creating: pods "x" is forbidden: exceeded quota: small'
    world.api.store(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "refused", "namespace": "team-a"},
            "involvedObject": {"uid": job["metadata"]["uid"]},
            "reason": "FailedCreate",
            "message": said,
            "lastTimestamp": NOW.isoformat(),
        }
    )
    assert "exceeded quota: small" in (await world.look()).message


@pytest.mark.parametrize("end", ["Complete", "Failed"])
async def test_an_ended_one_is_made_anew_after_a_minute_if_the_admin_is_still_refused(end: str) -> None:
    world = World()
    await world.look()
    world.end(end)
    await world.look(seconds=59)
    assert world.api.writes == []
    await world.look(seconds=60)
    assert world.api.writes == ["delete Job"]
    await world.look(seconds=60)
    assert "apply Job" in world.api.writes


async def test_a_secret_that_has_changed_meanwhile_gets_another_one_at_once() -> None:
    world = World()
    await world.look()
    world.end("Complete")
    world.change_secret("second")
    await world.look()
    assert world.api.writes == ["delete Job"]
    await world.look()
    assert "apply Job" in world.api.writes


def test_on_a_volume_it_runs_beside_the_server_and_writes_the_file_that_is_open() -> None:
    server = model(BASIC)
    job = build_login_reset_job(server, 7)
    pod = job["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert program_and_arguments(pod["containers"][0])[:2] == ["reset-login", "sqlite"]
    assert job["spec"]["template"]["metadata"]["labels"][COMPONENT_LABEL] == MIGRATION_COMPONENT
    assert may_reset(server)


def test_nobodys_password_is_changed_in_a_database_of_somebody_elses() -> None:
    assert not may_reset(model(BASIC | {"backendStore": EXTERNAL_DATABASE}))
    assert may_reset(World().server)


class Unasked(World):
    """A server whose class has nobody asked."""

    def __init__(self) -> None:
        super().__init__()
        offered = postgres_class(spec={"access": {"probe": "None"}})
        self.server = model(BASIC, offered)

    async def prepare(self, seconds: float = 0) -> ConditionResult | None:
        """Look once, as where nobody is asked."""
        self.catch_up()
        return await self.reset.prepare(self.server, NOW + timedelta(seconds=seconds))


async def test_where_nobody_is_asked_one_job_succeeds_once_for_each_secret() -> None:
    world = Unasked()
    under_way = await world.prepare()
    assert under_way
    assert (under_way.verdict, under_way.reason) == (Verdict.WORKING, Reason.PENDING)
    assert "ttlSecondsAfterFinished" not in world.api.objects[PLACE]["spec"], "it is the record"

    await world.prepare()
    world.end("Complete")
    for seconds in (0, 3600):
        assert await world.prepare(seconds) is None
        assert world.api.writes == []

    world.change_secret("second")
    assert await world.prepare() is not None
    assert world.api.writes == ["delete Job"]
    assert await world.prepare() is not None
    assert "apply Job" in world.api.writes


async def test_where_nobody_is_asked_one_that_failed_is_made_anew_after_a_minute() -> None:
    world = Unasked()
    await world.prepare()
    await world.prepare()
    world.end("Failed")
    under_way = await world.prepare(seconds=59)
    assert under_way
    assert "It failed" in under_way.message
    assert world.api.writes == []
    await world.prepare(seconds=60)
    assert world.api.writes == ["delete Job"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"access": {"authentication": {"none": {}}}}, "Nobody has to log in"),
        (BASIC, "Not asked: the class says access.probe: None"),
        (BASIC | {"backendStore": EXTERNAL_DATABASE}, "a person changes them"),
    ],
)
def test_what_is_not_asked_is_called_so(spec: Manifest, words: str) -> None:
    told = unprobed_result(model(spec, postgres_class(spec={"access": {"probe": "None"}})))
    assert (told.verdict, told.reason) == (Verdict.OK, Reason.NOT_PROBED)
    assert words in told.message
