"""What becomes of a server's prefix when the server goes, whether the object store answers or not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.kube_api import KubeApi
from tests.operator_fixtures import RunningOperator
from tests.operator_object_store import RealObjectStore, S3Class, S3Team, an_s3_class, an_s3_team, may
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import FINALIZER, FORCE_ORPHAN_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import DEPLOYMENT, JOB, NAMESPACE, name_of
from tracking_operator.outcomes import EXIT_CODES
from tracking_operator.stores.s3.bucket_address import Keys

pytest_plugins = ["tests.operator_object_store"]

SECONDS_TO_LET_GO = 6.0
SECONDS_TO_RECOVER = 10.0
SECONDS_TO_SAY_SO = 10.0
SECONDS_TO_DROP = 20.0
SECONDS_TO_COLLECT = 60.0
DELETION = "delete-artifacts"
FORCE_ORPHAN = {"metadata": {"annotations": {FORCE_ORPHAN_ANNOTATION: "true"}}}

Trouble = Callable[[S3Class], AbstractContextManager[None]]


def stopped(class_: S3Class) -> AbstractContextManager[None]:
    """Nothing listens."""
    return class_.store.stopped()


def hanging(class_: S3Class) -> AbstractContextManager[None]:
    """Connections are accepted, and nobody answers."""
    return class_.store.paused()


@contextmanager
def refusing(class_: S3Class) -> Iterator[None]:
    """The admin's keys do not work."""
    class_.give_admin(Keys(class_.admin.access_key_id, "of-nobody"))
    class_.wait_for("LoginRefused")
    try:
        yield
    finally:
        class_.give_admin(class_.admin)


MORE_THAN_A_PAGE = 1010
"""Objects: S3 lists and removes a thousand at a time."""


def test_retain_takes_the_identity_and_keeps_the_objects_for_a_successor(
    s3_team: S3Team, operator: RunningOperator
) -> None:
    team, store = s3_team, s3_team.store
    team.served()
    old, kept = team.keys(), f"{team.namespace}/mlflow/model"
    store.client(old).put_object(Bucket=team.bucket, Key=kept, Body=b"weights")

    team.delete_server()

    team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_LET_GO)
    assert team.object_keys() == [kept]
    assert team.users() == []
    assert team.statements() == []
    assert not may(store.client(old), "get", team.bucket, kept)

    team.wait_until_gone(JOB, "mlflow-check-artifacts")
    team.served()
    assert team.may("get", kept)
    assert team.object_keys() == [kept]
    assert team.keys().secret_access_key != old.secret_access_key


@pytest.mark.parametrize("trouble", [stopped, hanging, refusing])
def test_retain_lets_a_server_go_whatever_the_store_does_and_takes_its_identity_afterwards(
    trouble: Trouble, s3_team: S3Team, s3_class: S3Class, operator: RunningOperator
) -> None:
    team, store = s3_team, s3_team.store
    team.served("leaving")
    team.served("staying")
    store.put(team.bucket, f"{team.namespace}/leaving/model")

    with trouble(s3_class):
        team.delete_server("leaving")
        team.wait_until_gone(TRACKING_SERVER, "leaving", seconds=SECONDS_TO_LET_GO)

    wait_until(
        lambda: not team.users("leaving") and not team.statements("leaving"),
        SECONDS_TO_RECOVER,
        "the identity of the dead is taken away",
    )
    assert team.object_keys("leaving") == [f"{team.namespace}/leaving/model"]
    assert team.works("staying")
    s3_class.wait_for("AsExpected")


@pytest.mark.parametrize("versioning", [False, True], ids=["plain", "versioned"])
def test_delete_ends_the_pods_empties_the_prefix_and_takes_the_rest_away(
    versioning: bool, api: KubeApi, object_store: RealObjectStore, operator: RunningOperator
) -> None:
    with (
        an_s3_class(api, object_store, create={"versioning": versioning}) as class_,
        an_s3_team(api, class_) as team,
    ):
        team.served("mlflow-2")
        team.served(deletionPolicy="Delete")
        mine = team.store.client(team.keys())
        for number in range(3):
            key = f"{team.namespace}/mlflow/{number}"
            mine.put_object(Bucket=team.bucket, Key=key, Body=b"first")
            mine.put_object(Bucket=team.bucket, Key=key, Body=b"second")
        mine.delete_object(Bucket=team.bucket, Key=f"{team.namespace}/mlflow/0")
        neighbours = [f"{team.namespace}/mlflow-2/model", f"{team.namespace}/mlflowing", "mlflow/model"]
        team.store.put(team.bucket, *neighbours)

        team.delete_server()

        pod = team.job_pod(what=DELETION)
        assert team.find(DEPLOYMENT) is None
        assert pod["spec"]["serviceAccountName"] == "mlflow"
        assert len(team.object_keys()) >= 2
        condition = team.wait_for_condition("ArtifactStoreReady", reason="Deleting")
        assert f"s3://{team.bucket}/{team.namespace}/mlflow" in condition["message"]

        team.empty()

        team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_DROP)
        assert team.object_keys() == []
        assert team.users() == []
        assert team.statements() == []
        assert f".tracking-operator/prefixes/{team.namespace}/mlflow/owner.json" not in own_objects(team)
        assert set(neighbours) <= set(team.store.object_keys(team.bucket))
        assert team.works("mlflow-2")


def test_delete_of_an_empty_prefix_needs_no_job(s3_team: S3Team, operator: RunningOperator) -> None:
    team = s3_team
    team.served(deletionPolicy="Delete")

    team.delete_server()

    team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_DROP)
    assert team.users() == []
    assert own_objects(team) == []


def test_a_job_that_fails_is_reported_and_made_anew(s3_team: S3Team, operator: RunningOperator) -> None:
    team = s3_team
    team.served(deletionPolicy="Delete")
    team.store.put(team.bucket, f"{team.namespace}/mlflow/model")
    team.delete_server()

    first = team.job_pod(what=DELETION)
    team.end(first, EXIT_CODES["AccessDenied"], "AccessDenied", "DeleteObject of s3://bucket/key was denied.")

    condition = team.wait_for_condition(
        "ArtifactStoreReady", reason="DeletionBlocked", seconds=SECONDS_TO_SAY_SO
    )
    assert "was denied" in condition["message"]
    assert FORCE_ORPHAN_ANNOTATION in condition["message"]
    team.job_pod(what=DELETION, but=(name_of(first),))
    team.empty()
    team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_DROP)
    assert own_objects(team) == []


def test_delete_waits_for_the_store_and_finishes_by_itself(
    s3_team: S3Team, s3_class: S3Class, operator: RunningOperator
) -> None:
    team = s3_team
    team.served(deletionPolicy="Delete")
    team.store.put(team.bucket, f"{team.namespace}/mlflow/model")

    with stopped(s3_class):
        team.delete_server()
        condition = team.wait_for_condition(
            "ArtifactStoreReady", reason="DeletionBlocked", seconds=SECONDS_TO_SAY_SO
        )
        assert FORCE_ORPHAN_ANNOTATION in condition["message"]
        assert FINALIZER in team.server()["metadata"]["finalizers"]

    team.empty()
    team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_DROP)
    assert team.object_keys() == []
    assert team.users() == []


def test_force_orphan_lets_a_server_go_and_its_identity_goes_later(
    s3_team: S3Team, s3_class: S3Class, operator: RunningOperator
) -> None:
    team, kept = s3_team, f"{s3_team.namespace}/mlflow/model"
    team.served(deletionPolicy="Delete")
    team.store.put(team.bucket, kept)
    with refusing(s3_class):
        team.delete_server()
        team.wait_for_condition("ArtifactStoreReady", reason="DeletionBlocked", seconds=20)

        team.patch_server(FORCE_ORPHAN)

        team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_LET_GO)
    assert team.object_keys() == [kept]
    wait_until(lambda: not team.users(), SECONDS_TO_RECOVER, "the identity is taken away")
    assert team.statements() == []


def test_who_takes_the_finalizer_off_leaves_objects_behind_and_no_access(
    s3_team: S3Team, operator: RunningOperator
) -> None:
    team, kept, mine = s3_team, f"{s3_team.namespace}/mlflow/model", ["example.com/mine"]
    team.served(deletionPolicy="Delete")
    team.store.put(team.bucket, kept)
    try:
        team.patch_server({"metadata": {"finalizers": mine}})
        team.delete_server()
        team.patch_server({"metadata": {"finalizers": mine}})

        wait_until(lambda: not team.users(), SECONDS_TO_RECOVER, "the identity is taken away")
        assert team.statements() == []
        assert team.object_keys() == [kept]
    finally:
        team.patch_server({"metadata": {"finalizers": None}})
    team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_LET_GO)


def test_servers_that_are_deleted_while_they_are_made_leave_nothing(
    s3_team: S3Team, operator: RunningOperator
) -> None:
    team, store = s3_team, s3_team.store
    names = [f"short-lived-{number}" for number in range(6)]
    for name in names:
        team.serve(name, deletionPolicy="Delete")
    wait_until(lambda: FINALIZER in str(team.server(names[0])["metadata"]), 10, "the first one is begun")
    for name in names:
        team.delete_server(name)

    for name in names:
        team.wait_until_gone(TRACKING_SERVER, name, seconds=SECONDS_TO_DROP)

    def left() -> list[str]:
        users = [user for user in store.users() if team.namespace in user]
        sids = [str(one["Sid"]) for one in store.statements(team.bucket) if team.namespace in str(one)]
        return [*users, *sids, *own_objects(team)]

    # The API server may remove one at once although its finalizer has just been written: that is made up for later.
    wait_until(lambda: not left(), SECONDS_TO_DROP, lambda: f"nothing is left; there is {left()}")


def test_a_namespace_with_a_retained_prefix_is_gone_although_the_store_is_down(
    api: KubeApi, s3_class: S3Class, operator: RunningOperator
) -> None:
    with an_s3_team(api, s3_class) as team:
        team.served()
        team.serve("unfinished")
        team.job_pod("unfinished")
        team.store.put(team.bucket, f"{team.namespace}/mlflow/model")
        with stopped(s3_class):
            api.delete(NAMESPACE, None, team.namespace)
            wait_until_no_namespace(api, team)
        wait_until(
            lambda: not team.users() and not team.users("unfinished"),
            SECONDS_TO_RECOVER,
            "the identities are taken away",
        )
        assert team.object_keys() == [f"{team.namespace}/mlflow/model"]


def test_a_namespace_with_a_prefix_to_delete_is_gone_with_all_that_is_in_it(
    api: KubeApi, s3_class: S3Class, operator: RunningOperator
) -> None:
    with an_s3_team(api, s3_class) as team, an_s3_team(api, s3_class) as neighbour:
        neighbour.served()
        neighbour.store.put(team.bucket, f"{neighbour.namespace}/mlflow/model")
        team.served(deletionPolicy="Delete")
        keys = [f"{team.namespace}/mlflow/{number}" for number in range(MORE_THAN_A_PAGE)]
        team.store.put(team.bucket, *keys)
        team.store.client(team.keys()).delete_object(Bucket=team.bucket, Key=keys[0])
        team.store.put(team.bucket, f"{team.namespace}/mlflowing/model")

        api.delete(NAMESPACE, None, team.namespace)

        wait_until_no_namespace(api, team)
        assert team.object_keys() == []
        assert not team.users()
        assert not team.statements()
        assert own_objects(team) == []
        assert team.store.object_keys(team.bucket, f"{team.namespace}/mlflowing/"), "another one's"
        assert neighbour.object_keys() == [f"{neighbour.namespace}/mlflow/model"]
        assert neighbour.works()


def test_a_namespace_whose_prefix_cannot_be_deleted_says_what_it_waits_for(
    api: KubeApi, s3_class: S3Class, operator: RunningOperator
) -> None:
    with an_s3_team(api, s3_class) as team:
        team.served(deletionPolicy="Delete")
        kept = f"{team.namespace}/mlflow/model"
        team.store.put(team.bucket, kept)
        with stopped(s3_class):
            api.delete(NAMESPACE, None, team.namespace)
            condition = team.wait_for_condition(
                "ArtifactStoreReady", reason="DeletionBlocked", seconds=SECONDS_TO_SAY_SO
            )
            assert FORCE_ORPHAN_ANNOTATION in condition["message"]
            team.patch_server(FORCE_ORPHAN)
            wait_until_no_namespace(api, team)
        wait_until(
            lambda: not team.users() and not team.statements(), SECONDS_TO_RECOVER, "its identity is gone"
        )
        assert team.object_keys() == [kept]


def own_objects(team: S3Team) -> list[str]:
    """What the operator itself keeps in the bucket about servers of the team."""
    return team.store.object_keys(team.bucket, f".tracking-operator/prefixes/{team.namespace}/")


def wait_until_no_namespace(api: KubeApi, team: S3Team) -> None:
    """Wait for the end of the team's namespace."""
    wait_until(
        lambda: api.find(NAMESPACE, None, team.namespace) is None, SECONDS_TO_COLLECT, "the namespace is gone"
    )
