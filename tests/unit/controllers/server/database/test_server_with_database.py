"""The loop of a server with a database of its own, where PostgreSQL answers what a test wants."""

from collections.abc import Callable
from typing import cast

import pytest

from dev.classes import generous
from tests.unit.controllers.server.test_reconciler import World
from tests.unit.examples import POSTGRES, Manifest, namespace
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import API_VERSION, FINALIZER
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.controllers.server.database.database_work import WantedDatabase
from tracking_operator.controllers.server.database.databases import Databases, DatabaseState
from tracking_operator.controllers.server.database.managed_store import DatabaseStore
from tracking_operator.controllers.server.managed_stores.interface import Deletion
from tracking_operator.controllers.server.managed_stores.loop import ManagedStores
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection, PostgresAdmin
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Invalid, Unavailable
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import DEPLOYMENT, JOB, SECRET
from tracking_operator.resources.secret import REVOKED_FOR_ANNOTATION
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.database_server import Login, PostgresServer

LEAVING = "2026-01-01T12:00:00Z"


class PostgresWorld(World):
    """A server of a class with PostgreSQL."""

    def __init__(self, **spec: object) -> None:
        self.revision: str | None = None
        self.failure: Failure | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.wanted: list[WantedDatabase] = []
        self.dropped: list[str] = []
        self.blocked: ConditionResult | None = None
        self.marked: tuple[str, ...] = ()
        self.lost: Failure | None = None
        self.asked: list[Mark] = []
        super().__init__({"className": "standard", **spec})
        self.cache.upsert(namespace())
        metadata = {"name": "standard"}
        self.put(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerClass",
                "metadata": metadata,
                "spec": generous({"postgres": POSTGRES}),
            }
        )

    def restart(self) -> None:
        super().restart()
        (store,) = self.loop._steps.stores._backend_stores
        assert isinstance(store, DatabaseStore)
        itself = cast(object, self)
        store._classes = store._postgres = cast(PostgresAdmin, itself)
        store._databases = cast(Databases, itself)
        self.loop._steps.deletion._finalization._stores = cast(ManagedStores, itself)

    async def access(self, class_name: str, class_store: object) -> AdminConnection:
        return AdminConnection(PostgresServer("pg.db.svc"), Login("admin", "secret"))

    async def databases_of(self, access: AdminConnection, mark: Mark) -> tuple[str, ...]:
        self.asked.append(mark)
        if self.lost:
            raise self.lost
        return self.marked

    async def ensure(
        self,
        server: object,
        store: object,
        access: AdminConnection,
        wanted: WantedDatabase,
        *,
        mark: Mark,
        memory: object,
    ) -> DatabaseState:
        if self.failure:
            raise self.failure
        self.wanted.append(wanted)
        found = DatabaseState("x_a", self.revision)
        self.meanwhile()
        return found

    async def finalize(self, deletion: Deletion) -> ConditionResult | None:
        if self.blocked is None:
            self.dropped.append(f"{deletion.chosen.name} {deletion.policy}")
        return self.blocked

    def removed_before_finalized(self) -> None:
        """The API server removes the server although the finalizer has just been written."""
        self.cache.remove(self.api.objects.pop((TRACKING_SERVER, "team-a", "mlflow")))

    @property
    def database(self) -> str:
        """Where the server is placed."""
        return str(self.resource["status"]["placement"]["database"]["name"])

    def lose_status(self) -> None:
        """What a restored cluster has of a server; and an operator that has just begun."""
        self.put({key: value for key, value in self.resource.items() if key != "status"})
        self.restart()

    def name_otherwise(self) -> None:
        """Let the class's template give other names."""
        class_ = self.api.objects[(TRACKING_SERVER_CLASS, None, "standard")]
        self.put(
            class_ | {"spec": class_["spec"] | {"naming": {"database": "other_{{ namespace }}_{{ name }}"}}}
        )


async def test_a_server_whose_status_was_lost_is_found_by_its_mark_and_not_by_the_template_of_today() -> None:
    world = PostgresWorld()
    await world.reconcile()
    before = world.database
    world.marked = (before,)
    world.name_otherwise()
    world.lose_status()
    await world.reconcile()
    assert world.database == before
    mark = world.asked[-1]
    assert (mark.namespace, mark.name, mark.namespace_uid) == (
        "team-a",
        "mlflow",
        namespace()["metadata"]["uid"],
    )
    assert not mark.takes_over


async def test_a_server_is_looked_for_once() -> None:
    world = PostgresWorld()
    await world.reconcile()
    assert world.database.startswith("mlflow_team_a")
    await world.reconcile(resync=True)
    world.restart()
    await world.reconcile(resync=True)
    assert len(world.asked) == 1


async def test_a_server_with_a_placement_goes_nowhere_else_whatever_carries_its_mark() -> None:
    world = PostgresWorld()
    await world.reconcile()
    before = world.database
    world.marked = ("another",)
    world.restart()
    await world.reconcile(resync=True)
    assert world.database == before


async def test_a_server_is_not_placed_while_the_store_cannot_be_asked() -> None:
    world = PostgresWorld()
    world.lost = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    outcome = await world.reconcile()
    assert outcome.failed
    assert world.condition("BackendStoreReady") == ("False", "StoreUnreachable")
    assert world.condition("SpecValid") == ("True", "AsExpected")
    assert world.message("SchemaReady") == "Waits for the stores to be asked."
    assert "placement" not in world.resource["status"]
    assert [place for place in world.api.objects if place[1] == "team-a"] == [
        (TRACKING_SERVER, "team-a", "mlflow")
    ]
    world.lost = None
    await world.reconcile()
    assert world.database.startswith("mlflow_team_a")


async def test_of_several_databases_with_its_mark_none_is_guessed() -> None:
    world = PostgresWorld()
    world.marked = ("one", "two")
    outcome = await world.reconcile()
    assert (outcome.requeue_after, outcome.failed) == (UNWATCHED_RETRY_SECONDS, False)
    assert world.condition("BackendStoreReady") == ("False", "AmbiguousMarks")
    assert "one, two" in world.message("BackendStoreReady")
    assert world.wanted == []
    world.marked = ("two",)
    await world.reconcile()
    assert world.database == "two"


async def test_what_is_handed_over_to_a_new_namespace_is_looked_for_by_name() -> None:
    world = PostgresWorld()
    class_ = world.api.objects[(TRACKING_SERVER_CLASS, None, "standard")]
    uid = namespace()["metadata"]["uid"]
    owner = {"namespace": "team-a", "namespaceUid": uid, "name": "mlflow"}
    world.put(class_ | {"spec": class_["spec"] | {"handOver": [owner]}})
    await world.reconcile()
    assert world.asked[-1].takes_over


async def test_the_job_comes_first_and_the_deployment_after_it() -> None:
    world = PostgresWorld()
    await world.reconcile()
    assert (DEPLOYMENT, "team-a", "mlflow") not in world.api.objects
    world.migrate()
    world.revision = "abc"
    await world.reconcile()
    assert world.child(DEPLOYMENT)
    assert world.resource["status"]["schemaRevision"] == "abc"
    assert world.wanted[-1].migrated_by == world.child(JOB, "mlflow-migrate-3-18-0")["metadata"]["uid"]


async def test_a_job_that_ends_while_postgresql_is_asked_is_not_run_again() -> None:
    world = PostgresWorld()
    await world.reconcile()

    def end_the_job() -> None:
        world.migrate()
        world.watch()
        world.meanwhile = lambda: None

    world.meanwhile = end_the_job
    await world.reconcile()
    assert "delete Job" not in world.api.writes
    world.revision = "abc"
    await world.reconcile()
    assert world.child(DEPLOYMENT)


async def test_a_store_that_a_person_must_see_to_is_looked_at_again() -> None:
    world = PostgresWorld()
    world.failure = Invalid(Reason.CONFLICT, "It is somebody else's.")
    outcome = await world.reconcile()
    assert (outcome.requeue_after, outcome.failed) == (UNWATCHED_RETRY_SECONDS, False)
    assert world.condition("BackendStoreReady") == ("False", "Conflict")
    assert world.condition("SchemaReady") == ("False", "Pending")
    assert (DEPLOYMENT, "team-a", "mlflow") not in world.api.objects


async def test_a_store_that_does_not_answer_leaves_what_runs_alone() -> None:
    world = PostgresWorld()
    await world.reconcile()
    world.migrate()
    world.revision = "abc"
    await world.reconcile()
    before = world.child(DEPLOYMENT)
    world.failure = Unavailable(Reason.STORE_UNREACHABLE, "It does not answer.")
    world.restart()
    outcome = await world.reconcile()
    assert outcome.failed
    assert world.condition("BackendStoreReady") == ("False", "StoreUnreachable")
    assert world.condition("SchemaReady") == ("True", "AsExpected")
    assert world.child(DEPLOYMENT) == before


async def test_a_server_is_torn_down_by_the_class_that_was_it_is_placed_in_whatever_it_says_later() -> None:
    world = PostgresWorld(deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    await world.reconcile()
    assert world.resource["metadata"]["finalizers"] == [FINALIZER]
    resource = world.resource
    spec = {key: value for key, value in resource["spec"].items() if key != "className"}
    world.put(resource | {"metadata": resource["metadata"] | {"deletionTimestamp": LEAVING}, "spec": spec})
    await world.reconcile()
    assert world.dropped == ["standard Delete"]
    assert world.resource["metadata"]["finalizers"] == []


async def test_a_server_that_goes_while_it_is_begun_leaves_nothing_although_its_finalizer_came_too_late() -> (
    None
):
    world = PostgresWorld(deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    world.meanwhile = world.removed_before_finalized
    with pytest.raises(ApiError, match="UID"):
        await world.reconcile()
    assert world.dropped == []
    await world.loop.reconcile("team-a", "mlflow", resync=False)
    await world.loop.reconcile("team-a", "mlflow", resync=False)
    assert world.dropped == ["standard Delete"]


async def test_what_a_server_leaves_that_is_gone_already_is_seen_to_until_it_is_done() -> None:
    world = PostgresWorld()
    await world.reconcile()
    world.removed_before_finalized()
    world.blocked = ConditionResult(
        ConditionType.BACKEND_STORE_READY, Verdict.FAILING, Reason.DELETION_BLOCKED, "It is down."
    )
    assert (await world.loop.reconcile("team-a", "mlflow", resync=False)).failed
    world.blocked = None
    assert not (await world.loop.reconcile("team-a", "mlflow", resync=False)).failed
    assert world.dropped == ["standard Retain"]


async def test_data_is_retained_as_its_team_says_however_large_the_server_was_that_is_gone() -> None:
    world = PostgresWorld(deletionPolicy="Retain")
    await world.reconcile()
    class_ = world.api.objects[(TRACKING_SERVER_CLASS, None, "standard")]
    world.put(class_ | {"spec": class_["spec"] | {"defaults": {"deletionPolicy": "Delete"}}})
    finalizers = [*(f"example.com/{number}" for number in range(10_000)), FINALIZER]
    world.put(world.resource | {"metadata": world.resource["metadata"] | {"finalizers": finalizers}})
    world.watch()
    world.removed_before_finalized()
    await world.loop.reconcile("team-a", "mlflow", resync=False)
    assert world.dropped == ["standard Retain"]


async def test_who_takes_the_finalizer_off_leaves_data_behind_and_no_access() -> None:
    world = PostgresWorld(deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    await world.reconcile()
    held = {"deletionTimestamp": LEAVING, "finalizers": ["example.com/mine"]}
    world.put(world.resource | {"metadata": world.resource["metadata"] | held})
    await world.reconcile()
    await world.reconcile()
    assert world.dropped == ["standard Retain"]
    assert world.resource["metadata"]["finalizers"] == ["example.com/mine"]
    world.removed_before_finalized()
    await world.loop.reconcile("team-a", "mlflow", resync=False)
    assert world.dropped == ["standard Retain"], "it is not done twice"


async def test_access_ends_although_server_and_finalizer_are_gone_before_anybody_looks() -> None:
    world = PostgresWorld(deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    await world.reconcile()
    world.put(world.resource | {"metadata": world.resource["metadata"] | {"finalizers": []}})
    world.removed_before_finalized()
    await world.loop.reconcile("team-a", "mlflow", resync=False)
    await world.loop.reconcile("team-a", "mlflow", resync=False)
    assert world.dropped == ["standard Retain"]


async def test_a_finalizer_that_could_not_be_taken_off_is_taken_off_later() -> None:
    world = PostgresWorld()
    await world.reconcile()
    world.put(world.resource | {"metadata": world.resource["metadata"] | {"deletionTimestamp": LEAVING}})
    world.watch()
    world.cache.note_finalized(world.resource)
    await world.reconcile()
    assert world.resource["metadata"]["finalizers"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"permissions": {"deletionPolicyDelete": False}}, "is not permitted by permissions"),
        ({"allowedNamespaces": {"matchLabels": {"mlflow": "true"}}}, "is not for this namespace any more"),
        (None, "is gone, and with it what it permits"),
    ],
)
async def test_data_is_kept_that_the_class_does_not_let_be_deleted_at_the_end(
    change: Manifest | None, said: str
) -> None:
    world = PostgresWorld(deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    await world.reconcile()
    class_ = world.api.objects.pop((TRACKING_SERVER_CLASS, None, "standard"))
    if change is not None:
        world.put(class_ | {"spec": class_["spec"] | change})
    resource = world.resource
    world.put(resource | {"metadata": resource["metadata"] | {"deletionTimestamp": LEAVING}})
    await world.reconcile()
    assert world.dropped == ["standard Retain"]
    assert world.resource["metadata"]["finalizers"] == []
    ((_, type_, reason, message),) = [one for one in world.events.recorded if one[2] == "NotPermitted"]
    assert (type_, reason) == ("Warning", "NotPermitted")
    assert said in message


UNREADABLE: Manifest = {"resources": {"limits": {"memory": "1e9223372036854775807"}}}
"""What the CRDs let in before they had a rule against long exponents."""


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
async def test_access_ends_with_the_server_although_a_quantity_cannot_be_read(policy: str) -> None:
    world = PostgresWorld(deletionPolicy=policy, artifactStore={"external": {"uri": "s3://bucket"}})
    await world.reconcile()
    resource = world.resource
    world.put(
        resource
        | {"metadata": resource["metadata"] | {"deletionTimestamp": LEAVING}}
        | {"spec": resource["spec"] | UNREADABLE}
    )
    await world.reconcile()
    assert world.dropped == [f"standard {policy}"]
    assert world.resource["metadata"]["finalizers"] == []


async def test_a_quantity_that_cannot_be_read_is_a_condition_and_no_failure_of_the_operator() -> None:
    world = PostgresWorld(**UNREADABLE)
    outcome = await world.reconcile()
    assert world.condition(ConditionType.SPEC_VALID) == ("False", Reason.INVALID_SPEC)
    assert not outcome.failed


REVOKE = "tracking-operator.dev/revoke-now"


async def running(**spec: object) -> PostgresWorld:
    """A server that has been migrated, and whose pods have been told to come."""
    world = PostgresWorld(**spec)
    await world.reconcile()
    world.migrate()
    world.revision = "abc"
    await world.reconcile()
    return world


def ask_for_revocation(world: PostgresWorld, value: str) -> None:
    world.put(world.resource | {"metadata": world.resource["metadata"] | {"annotations": {REVOKE: value}}})


async def test_a_revocation_is_done_once_and_recorded_and_pods_are_made_anew_once() -> None:
    world = await running()
    before = world.child(DEPLOYMENT)["spec"]["template"]
    ask_for_revocation(world, "leaked")
    await world.reconcile()
    assert world.wanted[-1].is_revoked
    done = {"backendStore": "leaked", "artifactStore": "leaked", "pods": "leaked", "login": "leaked"}
    assert world.resource["status"]["revocation"] == done
    after = world.child(DEPLOYMENT)["spec"]["template"]
    assert after != before
    assert [event for event in world.events.recorded if "AccessRevoked" in event]

    world.restart()
    await world.reconcile()
    ask_for_revocation(world, "")
    await world.reconcile()
    ask_for_revocation(world, "leaked")
    await world.reconcile()
    assert not any(wanted.is_revoked for wanted in world.wanted[-3:])
    assert world.child(DEPLOYMENT)["spec"]["template"] == after
    ask_for_revocation(world, "leaked again, " + "and this is long" * 10)
    await world.reconcile()
    assert world.wanted[-1].is_revoked
    assert len(world.resource["status"]["revocation"]["pods"]) == 64


async def test_a_revocation_waits_for_a_store_and_says_so() -> None:
    world = await running()
    before = world.child(DEPLOYMENT)["spec"]["template"]
    ask_for_revocation(world, "leaked")
    world.failure = Unavailable(Reason.STORE_UNREACHABLE, "PostgreSQL does not answer.")
    await world.reconcile()
    assert world.condition(ConditionType.BACKEND_STORE_READY) == ("False", Reason.STORE_UNREACHABLE)
    message = world.message(ConditionType.BACKEND_STORE_READY)
    assert message.startswith("PostgreSQL does not answer. Access is not revoked yet")
    assert world.resource["status"]["revocation"] == {"artifactStore": "leaked"}
    assert world.child(DEPLOYMENT)["spec"]["template"] == before

    world.failure = None
    await world.reconcile()
    assert world.wanted[-1].is_revoked
    assert world.resource["status"]["revocation"]["pods"] == "leaked"
    assert world.child(DEPLOYMENT)["spec"]["template"] != before


async def test_a_new_server_that_asks_for_a_revocation_keeps_its_placement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = PostgresWorld()
    ask_for_revocation(world, "leaked")
    seen: list[set[str]] = []
    apply = world.api.apply

    async def watched(obj: Manifest, *, subresource: str | None = None, dry_run: bool = False) -> Manifest:
        if subresource == "status":
            seen.append(set(obj["status"]))
        return await apply(obj, subresource=subresource, dry_run=dry_run)

    monkeypatch.setattr(world.api, "apply", watched)
    await world.reconcile()
    assert len(seen) > 2
    assert all("placement" in fields for fields in seen)
    assert "revocation" in seen[-1]


async def test_what_is_recorded_as_revoked_is_not_revoked_again_whatever_the_secret_says() -> None:
    world = await running(access={"authentication": {"basic": {}}})
    ask_for_revocation(world, "leaked")
    await world.reconcile()
    revocation = world.resource["status"]["revocation"]
    assert revocation["pods"] == "leaked"
    assert "login" not in revocation
    assert world.condition(ConditionType.EXPOSED) == ("False", Reason.REVOKING_ACCESS)
    world.put(
        world.resource
        | {"status": world.resource["status"] | {"revocation": revocation | {"login": "leaked"}}}
    )
    secret = world.child(SECRET, "mlflow-auth")
    assert secret["metadata"]["annotations"].pop(REVOKED_FOR_ANNOTATION) == "leaked"
    settled = {key: text for key, text in secret["data"].items() if not key.startswith("next")}
    world.put(secret | {"data": settled})
    await world.reconcile()
    assert world.child(SECRET, "mlflow-auth")["data"] == settled
    assert world.condition(ConditionType.EXPOSED)[1] != Reason.REVOKING_ACCESS
