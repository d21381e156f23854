"""Whatever is wrong with a bucket or a prefix has a reason within ten seconds, and what runs is not touched."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import pytest

from tests.cluster.troubles import Trouble, change, listening
from tests.kube_api import KubeApi
from tests.operator_fixtures import OPERATOR_NAMESPACE, OperatorHost, RunningOperator
from tests.operator_object_store import (
    Document,
    RealObjectStore,
    S3Class,
    S3Team,
    an_s3_class,
    an_s3_team,
)
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import ALLOW_EMPTY_STORE_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import DEPLOYMENT, JOB, SECRET, KubeObject, name_of
from tracking_operator.outcomes import EXIT_CODES, TERMINAL_EXIT_CODES
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.policy import LARGEST_DOCUMENT

pytest_plugins = ["tests.operator_object_store"]

SECONDS_TO_SAY_SO = 10.0
SECONDS_TO_RECOVER = 10.0
STORE = "ArtifactStoreReady"
ENOUGH_FOR_ONE = 5
"""In percent of a bucket's policy: for the statements of one server with a short name."""


def lose_key(class_: S3Class) -> None:
    """Remove a key from the admin's Secret."""
    class_.api.patch(SECRET, OPERATOR_NAMESPACE, class_.secret, {"data": {"secretAccessKey": None}})


def restore_admin(class_: S3Class) -> None:
    """Write the admin's keys again."""
    class_.give_admin(class_.admin)


def restore_endpoint(class_: S3Class) -> None:
    """Name the right endpoint again."""
    class_.change(endpoint=class_.store.endpoint)


def name_missing_bucket(class_: S3Class) -> None:
    """Name a bucket that is not there, and do not ask for it."""
    class_.change(bucket="no-such-bucket", create=None)


def name_own_bucket(class_: S3Class) -> None:
    """Name the right bucket again."""
    class_.change(bucket=class_.bucket, create={})


TROUBLES: list[Trouble[S3Class]] = [
    Trouble("the bucket is missing", "BucketNotFound", "s3.create", name_missing_bucket, name_own_bucket),
    Trouble("the admin's key is wrong", "LoginRefused", "Correct accessKeyId and secretAccessKey in Secret",
            lambda class_: class_.give_admin(Keys(class_.admin.access_key_id, "of-nobody")), restore_admin),
    Trouble("the admin is nobody", "LoginRefused", "Correct accessKeyId and secretAccessKey in Secret",
            lambda class_: class_.give_admin(Keys("nobody", "of-nobody")), restore_admin),
    Trouble("the admin has no rights", "InsufficientPrivileges", "Allow s3:ListBucket",
            lambda class_: class_.give_admin(class_.store.make_user()), restore_admin),
    Trouble("nothing listens at the endpoint", "StoreUnreachable", "s3.endpoint",
            change(endpoint="https://127.0.0.1:1"), restore_endpoint),
    Trouble("the endpoint does not resolve", "HostNotFound", "s3.endpoint",
            change(endpoint="https://no-such-host.invalid"), restore_endpoint),
    Trouble("the CA has not signed the certificate", "TlsFailed", "caConfigMapRef", S3Class.use_another_ca, S3Class.use_own_ca),
    Trouble("the CA is missing", "SecretNotFound", "s3.caConfigMapRef",
            change(caConfigMapRef={"name": "missing"}), S3Class.use_own_ca),
    Trouble("the admin's Secret is missing", "SecretNotFound", "s3.adminSecretRef",
            change(adminSecretRef={"name": "missing"}), S3Class.use_own_secret),
    Trouble("a key is missing", "SecretKeyMissing", "secretAccessKey", lose_key, restore_admin),
]  # fmt: skip


@pytest.fixture(scope="module")
def living(
    api: KubeApi, operators: OperatorHost, object_store: RealObjectStore
) -> Iterator[tuple[S3Class, S3Team]]:
    """A class and a team with a server that has a prefix, for one trouble after the other."""
    operators.share()
    with an_s3_class(api, object_store) as class_, an_s3_team(api, class_) as team:
        team.served()
        yield class_, team


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.what)
def test_trouble_with_a_class_has_its_reason_on_class_and_server_and_touches_nothing(
    trouble: Trouble[S3Class], living: tuple[S3Class, S3Team], operator: RunningOperator
) -> None:
    class_, team = living
    team.wait_for_condition(STORE, status="True")
    before, policy = team.untouched(), team.store.policy(team.bucket)

    trouble.cause(class_)
    try:
        condition = class_.wait_for(trouble.reason, words=trouble.words)
        assert condition["status"] == "False"
        team.wait_for_condition(STORE, status="False", reason=trouble.reason, seconds=SECONDS_TO_SAY_SO)
        ready = class_.condition("Ready")
        assert ready is not None
        assert (ready["status"], ready["reason"]) == ("False", trouble.reason)
        assert team.untouched() == before
        assert team.store.policy(team.bucket) == policy
        assert team.works()
    finally:
        trouble.cure(class_)
    class_.wait_for("AsExpected")
    team.wait_for_condition(STORE, status="True", seconds=SECONDS_TO_RECOVER)
    assert team.untouched() == before


@contextmanager
def stopped(store: RealObjectStore) -> Iterator[None]:
    """Nothing listens."""
    with store.stopped():
        yield


@contextmanager
def hanging(store: RealObjectStore) -> Iterator[None]:
    """Connections are accepted, and nobody answers."""
    with store.paused():
        yield


@pytest.mark.parametrize("outage", [stopped, hanging])
def test_an_outage_is_said_in_time_touches_nothing_and_is_over_in_time(
    outage: Callable[[RealObjectStore], AbstractContextManager[None]],
    living: tuple[S3Class, S3Team],
    operator: RunningOperator,
) -> None:
    class_, team = living
    team.wait_for_condition(STORE, status="True")
    before = team.untouched()
    with outage(class_.store):
        class_.wait_for("StoreUnreachable", seconds=SECONDS_TO_SAY_SO)
        team.wait_for_condition(STORE, reason="StoreUnreachable", seconds=SECONDS_TO_SAY_SO)
        team.patch_server({"spec": {"resources": {"limits": {"memory": "2Gi"}}}})
        team.wait_until_so(
            DEPLOYMENT, "mlflow", lambda live: "2Gi" in str(live["spec"]), "other changes go on"
        )
        team.patch_server({"spec": {"resources": None}})
        wait_until(lambda: team.untouched() == before, SECONDS_TO_SAY_SO, "all is as it was")
    class_.wait_for("AsExpected", seconds=SECONDS_TO_RECOVER)
    team.wait_for_condition(STORE, status="True", seconds=SECONDS_TO_RECOVER)
    assert team.untouched() == before
    assert team.works()


def test_a_class_that_names_another_bucket_leaves_its_servers_where_they_are(
    living: tuple[S3Class, S3Team], operator: RunningOperator
) -> None:
    class_, team = living
    before = team.untouched()
    class_.change(bucket=f"{class_.bucket}-another")
    try:
        class_.wait_for("AsExpected", words=f"{class_.bucket}-another")
        condition = team.wait_for_condition(STORE, reason="ResolvedDiffers", seconds=SECONDS_TO_SAY_SO)
        assert f"s3://{class_.bucket}/{team.namespace}/mlflow" in condition["message"]
        assert team.untouched() == before
        assert team.store.statements(f"{class_.bucket}-another") == []
    finally:
        class_.change(bucket=class_.bucket)
    team.wait_for_condition(STORE, status="True", seconds=SECONDS_TO_RECOVER)
    assert team.works()


def test_a_class_that_loses_its_bucket_leaves_its_servers_as_they_are(
    living: tuple[S3Class, S3Team], operator: RunningOperator
) -> None:
    class_, team = living
    before = team.untouched()
    offer = team.api.get(TRACKING_SERVER_CLASS, None, class_.name)["spec"]["s3"]
    team.api.patch(TRACKING_SERVER_CLASS, None, class_.name, {"spec": {"s3": None}})
    try:
        condition = team.wait_for_condition("SpecValid", reason="ResolvedDiffers", seconds=SECONDS_TO_SAY_SO)
        assert "has no s3 any more" in condition["message"]
        assert team.untouched() == before
    finally:
        class_.change(**offer)
    team.wait_for_condition("SpecValid", status="True", seconds=SECONDS_TO_RECOVER)
    team.wait_for_condition(STORE, status="True", seconds=SECONDS_TO_RECOVER)
    assert team.untouched() == before
    assert team.works()


@pytest.mark.parametrize("what", ["endpoint", "bucket"])
def test_a_placement_that_names_another_place_never_brings_the_admin_there(
    what: str, living: tuple[S3Class, S3Team], operator: RunningOperator
) -> None:
    _, team = living
    before, placement = team.untouched(), team.placement()
    with listening("127.0.0.2") as trap:
        evil = f"http://127.0.0.2:{trap.port}" if what == "endpoint" else "bucket-of-somebody-else"
        with edited(team, placement | {"artifacts": placement["artifacts"] | {what: evil}}):
            condition = team.wait_for_condition(STORE, reason="ResolvedDiffers", seconds=SECONDS_TO_SAY_SO)
            assert evil in condition["message"]
            assert team.untouched() == before
            assert not team.store.has_bucket("bucket-of-somebody-else")
        assert trap.visitors == []
    assert team.untouched() == before


def test_a_placement_that_names_the_prefix_of_somebody_else_opens_nothing_and_loses_nothing(
    living: tuple[S3Class, S3Team], operator: RunningOperator
) -> None:
    class_, team = living
    with an_s3_team(team.api, class_) as victim:
        victim.served()
        secret, statements = victim.secret(), victim.statements()
        before, placement = team.untouched(), team.placement()
        stolen = placement["artifacts"] | {"prefix": victim.prefix()}

        with edited(team, placement | {"artifacts": stolen}):
            condition = team.wait_for_condition(STORE, reason="PrefixTaken", seconds=SECONDS_TO_SAY_SO)
            assert "belongs to another tracking server" in condition["message"]
            assert team.untouched() == before
            assert not team.may("get", f"{victim.namespace}/mlflow/tried")
            assert victim.secret()["data"] == secret["data"]
            assert victim.statements() == statements
            assert victim.works()
        assert team.untouched() == before
        assert team.works()


@pytest.mark.parametrize(
    "template",
    ["..", "{{ namespace }}/../other", "{{ namespace }}//{{ name }}", "{{ '' }}", "{{ namespace }}/*",
     "{{ namespace }}/${aws:username}", "/{{ name }}", "{{ name }}/", ".tracking-operator/{{ name }}", "{{ nonsense }}"],
)  # fmt: skip
def test_a_template_that_makes_no_prefix_is_refused_on_class_and_server(
    template: str, living: tuple[S3Class, S3Team], operator: RunningOperator
) -> None:
    class_, team = living
    before, objects = team.untouched(), team.store.object_keys(team.bucket)
    set_template(class_, template)
    try:
        condition = class_.wait_for("InvalidSpec", type_="SpecValid", words="naming.artifactPrefix")
        assert condition["status"] == "False"
        with an_s3_team(team.api, class_) as other:
            other.serve()
            condition = other.wait_for_condition("SpecValid", reason="InvalidSpec", seconds=SECONDS_TO_SAY_SO)
            assert "naming.artifactPrefix" in condition["message"]
            assert other.find(DEPLOYMENT) is None
            assert other.find(SECRET, "mlflow-artifacts") is None
            assert other.users() == []
        assert team.store.object_keys(team.bucket) == objects
        assert team.untouched() == before
    finally:
        set_template(class_, None)


@pytest.mark.parametrize(
    ("first", "second"),
    [("shared", "shared"), ("outer", "outer/inner"), ("deep/inner", "deep")],
    ids=["the same", "within another", "around another"],
)
def test_a_prefix_that_meets_that_of_somebody_else_is_refused(
    first: str, second: str, api: KubeApi, s3_class: S3Class, operator: RunningOperator
) -> None:
    set_template(s3_class, f"{{{{ '{first}' if name == 'first' else '{second}' }}}}")
    with an_s3_team(api, s3_class) as owner, an_s3_team(api, s3_class) as late:
        owner.served("first")
        policy, objects = owner.store.policy(owner.bucket), owner.store.object_keys(owner.bucket)

        late.serve("second")

        condition = late.wait_for_condition(
            STORE, reason="PrefixTaken", name="second", seconds=SECONDS_TO_SAY_SO
        )
        assert owner.namespace not in condition["message"]
        assert late.find(DEPLOYMENT, "second") is None
        assert late.users("second") == []
        assert owner.store.policy(owner.bucket) == policy
        assert owner.store.object_keys(owner.bucket) == objects
        owner.wait_for_condition(STORE, status="True", name="first")


def test_neighbours_whose_names_begin_alike_do_not_meet(
    api: KubeApi, s3_class: S3Class, operator: RunningOperator
) -> None:
    with an_s3_team(api, s3_class) as team:
        team.served("team-a")
        team.served("team-a-secret")

        assert team.works("team-a-secret")
        for action in ("get", "put", "list", "delete"):
            assert not team.may(action, f"{team.namespace}/team-a-secret/tried", "team-a")


def test_two_classes_on_one_bucket_do_not_share_a_prefix(
    api: KubeApi, object_store: RealObjectStore, operator: RunningOperator
) -> None:
    naming = {"naming": {"artifactPrefix": "{{ name }}"}}
    with (
        an_s3_class(api, object_store, spec=naming) as one,
        an_s3_class(api, object_store, spec=naming, bucket=one.bucket) as two,
        an_s3_team(api, one) as owner,
        an_s3_team(api, two) as late,
    ):
        owner.served()

        late.serve()

        condition = late.wait_for_condition(STORE, reason="PrefixTaken", seconds=SECONDS_TO_SAY_SO)
        assert owner.namespace not in condition["message"]
        assert late.find(DEPLOYMENT) is None
        assert late.users() == []


def test_objects_that_are_not_ours_are_left_alone_and_keep_the_server_out(
    living: tuple[S3Class, S3Team], operator: RunningOperator
) -> None:
    class_, team = living
    with an_s3_team(team.api, class_) as other:
        theirs = f"{other.namespace}/mlflow/theirs"
        other.store.put(other.bucket, theirs)
        policy = other.store.policy(other.bucket)

        other.serve()

        condition = other.wait_for_condition(STORE, reason="PrefixTaken", seconds=SECONDS_TO_SAY_SO)
        assert theirs in condition["message"]
        assert other.find(DEPLOYMENT) is None
        assert other.users() == []
        assert other.store.policy(other.bucket) == policy
        assert other.object_keys() == [theirs]

        other.store.remove(other.bucket, f"{other.namespace}/")
        other.patch_server({"metadata": {"annotations": {"example.com/look": "again"}}})
        other.check()
        other.wait_for_condition(STORE, status="True", seconds=SECONDS_TO_RECOVER)


def test_a_full_policy_keeps_the_next_server_out_and_nobody_else(
    api: KubeApi, s3_class: S3Class, operator: RunningOperator
) -> None:
    with an_s3_team(api, s3_class) as team, an_s3_team(api, s3_class) as late:
        team.served()
        statements = team.store.statements(team.bucket)
        team.store.set_policy(team.bucket, *statements, *foreign_statements(team.bucket, statements))
        full = team.store.policy(team.bucket)

        late.serve()

        condition = late.wait_for_condition(STORE, reason="BucketPolicyFull", seconds=SECONDS_TO_SAY_SO)
        assert "abac" in condition["message"]
        assert "second class with another bucket" in condition["message"]
        assert late.find(DEPLOYMENT) is None
        assert late.users() == []
        assert late.store.object_keys(late.bucket, f".tracking-operator/prefixes/{late.namespace}") == []
        assert late.store.policy(late.bucket) == full
        assert team.works()
        team.wait_for_condition(STORE, status="True")

        late.store.set_policy(late.bucket, *statements)
        late.patch_server({"metadata": {"annotations": {"example.com/look": "again"}}})
        late.check()
        late.wait_for_condition(STORE, status="True", seconds=SECONDS_TO_RECOVER)


def test_a_namespace_has_the_share_of_the_policy_that_its_class_says(
    api: KubeApi, object_store: RealObjectStore, operator: RunningOperator
) -> None:
    limits = {"limits": {"maxBucketPolicyPercentPerNamespace": ENOUGH_FOR_ONE}}
    with (
        an_s3_class(api, object_store, spec=limits) as class_,
        an_s3_team(api, class_) as team,
        an_s3_team(api, class_) as late,
    ):
        team.served("one")
        policy = team.store.policy(team.bucket)

        team.serve("two")

        condition = team.wait_for_condition(
            STORE, reason="LimitExceeded", name="two", seconds=SECONDS_TO_SAY_SO
        )
        assert f"({ENOUGH_FOR_ONE} %)" in condition["message"]
        assert "limits.maxBucketPolicyPercentPerNamespace" in condition["message"]
        assert team.find(DEPLOYMENT, "two") is None
        assert team.users("two") == []
        assert team.store.policy(team.bucket) == policy
        late.served()
        assert team.works("one")

        more = {"spec": {"limits": {"maxBucketPolicyPercentPerNamespace": 2 * ENOUGH_FOR_ONE}}}
        api.patch(TRACKING_SERVER_CLASS, None, class_.name, more)
        team.check("two")
        team.wait_for_condition(STORE, status="True", name="two", seconds=SECONDS_TO_RECOVER)
        assert team.works("two")


def test_a_mark_that_is_gone_stops_the_server_until_an_empty_store_is_allowed(
    api: KubeApi, s3_class: S3Class, operator: RunningOperator
) -> None:
    with an_s3_team(api, s3_class) as team:
        team.served()
        before = team.untouched()
        team.store.remove(team.bucket, ".tracking-operator/prefixes/")
        another = replace(team.store.make_user("admin"), source="another admin")

        s3_class.give_admin(another)  # so that the server is looked at anew

        condition = team.wait_for_condition(STORE, reason="PrefixLost", seconds=SECONDS_TO_SAY_SO)
        assert f"{team.namespace}/mlflow/owner.json" in condition["message"]
        assert team.untouched() == before
        assert team.store.object_keys(team.bucket, ".tracking-operator/prefixes/") == []

        team.patch_server({"metadata": {"annotations": {ALLOW_EMPTY_STORE_ANNOTATION: "true"}}})

        team.wait_for_condition(STORE, status="True", seconds=SECONDS_TO_RECOVER)
        assert len(team.store.object_keys(team.bucket, ".tracking-operator/prefixes/")) == 1
        assert team.works()


@pytest.mark.parametrize(
    "reason", ["AccessDenied", "IsolationNotProved", "IdentityPending", "BucketNotFound", ""]
)
def test_what_the_check_finds_is_the_condition_of_the_server(
    reason: str, api: KubeApi, s3_class: S3Class, operator: RunningOperator
) -> None:
    with an_s3_team(api, s3_class) as team:
        team.serve()
        pod = team.job_pod()

        team.end(
            pod,
            EXIT_CODES.get(reason, TERMINAL_EXIT_CODES[0]),
            reason,
            "This is what was found." if reason else "",
        )

        condition = team.wait_for_condition(
            STORE, reason=reason or "CheckFailed", status="False", seconds=SECONDS_TO_SAY_SO
        )
        words = "This is what was found." if reason else "delete Job mlflow-check-artifacts"
        assert words in condition["message"]
        assert not team.server()["status"]["artifactStore"].get("checked")
        if reason:
            again = team.job_pod(but=(name_of(pod),))
            team.end(again)
        else:
            api.delete(JOB, team.namespace, "mlflow-check-artifacts")
            team.end(team.job_pod(but=(name_of(pod),)))
        team.wait_for_condition(STORE, status="True", seconds=SECONDS_TO_RECOVER)


@contextmanager
def edited(team: S3Team, placement: KubeObject) -> Iterator[None]:
    """Somebody writes where the server's data is said to live, and at the end of the block what it said before."""
    before = team.placement()
    team.edit_placement(placement)
    try:
        yield
    finally:
        team.edit_placement(before)
    team.wait_for_condition(STORE, status="True", seconds=SECONDS_TO_RECOVER)


def set_template(class_: S3Class, template: str | None) -> None:
    """Say how the class names prefixes; None: as by default."""
    change = {"spec": {"naming": {"artifactPrefix": template}}}
    class_.api.patch(TRACKING_SERVER_CLASS, None, class_.name, change)


def foreign_statements(bucket: str, beside: list[Document]) -> list[Document]:
    """Statements of somebody else, of which no other one would fit beside those."""
    found: list[Document] = []
    while len(json.dumps([*beside, *found], separators=(",", ":"))) < LARGEST_DOCUMENT - 400:
        found.append(
            {
                "Sid": f"Foreign{len(found)}",
                "Effect": "Allow",
                "Principal": {"AWS": "root"},
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{bucket}/foreign/{len(found)}/*",
            }
        )
    return found
