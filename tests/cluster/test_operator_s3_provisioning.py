"""A server of a class with a bucket gets a prefix, an identity and keys of its own, which are tried out before it serves."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev.classes import generous
from dev.object_store.admin_api import User
from tests.kube_api import KubeApi
from tests.operator_fixtures import OperatorCalls, OperatorHost, RunningOperator
from tests.operator_object_store import (
    Document,
    RealObjectStore,
    Request,
    S3Class,
    S3Team,
    an_s3_class,
    an_s3_team,
)
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import API_VERSION, FINALIZER, WATCH_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    KubeObject,
    uid_of,
)
from tracking_operator.stores.ownership_mark import Mark

pytest_plugins = ["tests.operator_object_store"]

SECONDS_TO_NOTICE = 10.0
SECONDS_TO_RESYNC = 40.0
RESYNC_SECONDS = 2
SECONDS_FOR_MANY = 60.0
MANY = 12
MOST_REQUESTS_OF_A_CREATION = 16
"""Of a server whose prefix, user and statements are new: about the bucket, with those that look for its mark and for other claims."""
MOST_REQUESTS_OF_A_RESYNC = 12
"""Of two servers, the policy and the mark of each; the rest is for the class, which is looked at anew."""
IRSA_ROLE = "arn:aws:iam::123456789012:role/mlflow-{{ namespace }}.{{ name }}"
RENDERED_ROLE = "arn:aws:iam::123456789012:role/mlflow-team-a.mlflow"
ISSUER = "oidc.eks.eu-central-1.amazonaws.com/id/ABC"
ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"
FOREIGN: Document = {
    "Sid": "OfSomebodyElse",
    "Effect": "Allow",
    "Principal": {"AWS": ["root"]},
    "Action": ["s3:GetObject"],
    "Resource": ["arn:aws:s3:::{bucket}/theirs/*"],
}


def test_a_server_gets_a_prefix_an_identity_and_a_secret_as_decided(
    s3_team: S3Team, s3_class: S3Class, operator: RunningOperator
) -> None:
    team = s3_team
    deployment = team.served()

    server = team.server()
    place = {"bucket": s3_class.bucket, "prefix": f"{team.namespace}/mlflow", "endpoint": team.store.endpoint}
    assert team.placement()["artifacts"] == place
    status = server["status"]
    assert place.items() <= status["artifactStore"].items()
    assert status["artifactStore"]["kind"] == "s3"
    assert status["artifactStore"]["checked"]
    assert "secretName" not in status["client"]
    assert FINALIZER in server["metadata"]["finalizers"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert f"s3://{s3_class.bucket}/{team.namespace}/mlflow" in json.dumps(container["args"])
    assert team.keys().access_key_id in team.users()
    assert team.find(SECRET, "mlflow-client") is None


def test_the_statements_of_a_server_name_its_user_and_end_at_its_prefix(
    s3_team: S3Team, s3_class: S3Class, operator: RunningOperator
) -> None:
    team = s3_team
    team.served()

    (user,) = team.users()
    listing, objects = sorted(team.statements(), key=lambda one: str(one["Sid"]))
    folder = f"{team.namespace}/mlflow/"
    arn = f"arn:aws:s3:::{s3_class.bucket}"
    assert flat(listing["Resource"]) == [arn]
    assert flat(listing["Action"]) == ["s3:ListBucket"]
    assert flat(listing["Condition"]["StringLike"]["s3:prefix"]) == [f"{folder}*"]
    assert flat(objects["Resource"]) == [f"{arn}/{folder}*"]
    for statement in (listing, objects):
        assert flat(statement["Principal"]["AWS"]) == [user]
        assert statement["Effect"] == "Allow"


def test_the_secret_opens_the_prefix_and_nothing_beside_it(
    s3_team: S3Team, operator: RunningOperator
) -> None:
    team = s3_team
    team.served("one")
    team.served("two")
    assert team.works("one")
    assert team.works("two")

    for beyond in ("", f"{team.namespace}/", f"{team.namespace}/two/", f"{team.namespace}/one"):
        assert not team.may("list", beyond, "one"), beyond
    for key in (
        f"{team.namespace}/two/tried",
        f"{team.namespace}/one-more/tried",
        "tried",
        mark_key(team, "one"),
    ):
        for action in ("put", "get", "delete"):
            assert not team.may(action, key, "one"), (action, key)
    assert team.object_keys("two") == [f"{team.namespace}/two/tried"]


def test_the_prefix_carries_a_mark_of_its_server(s3_team: S3Team, operator: RunningOperator) -> None:
    team = s3_team
    team.served()

    found = team.store.client().get_object(Bucket=team.bucket, Key=mark_key(team))
    cluster, namespace = (
        uid_of(team.api.get(NAMESPACE, None, one)) or "" for one in ("kube-system", team.namespace)
    )
    mark = Mark(cluster, team.namespace, "mlflow", uid_of(team.server()) or "", namespace)
    assert found["Body"].read().decode() == mark.text


def test_the_server_is_not_ready_before_its_identity_was_tried_out(
    s3_team: S3Team, operator: RunningOperator
) -> None:
    team = s3_team
    team.serve()
    pod = team.job_pod()

    def that_names_the_job() -> KubeObject | None:
        condition = team.condition("ArtifactStoreReady") or {}
        return condition if "mlflow-check-artifacts" in condition.get("message", "") else None

    condition = wait_until(that_names_the_job, SECONDS_TO_NOTICE, "a condition that names the Job")
    assert condition["status"] == "False"
    assert condition["reason"] in (
        "Progressing",
        "Unschedulable",
    )  # no node takes the pod, which it may say already
    assert pod["spec"]["serviceAccountName"] == "mlflow"

    team.end(pod)

    team.wait_for_condition("ArtifactStoreReady", status="True")


def test_no_pod_is_made_before_the_secret_that_it_mounts(
    api: KubeApi, s3_class: S3Class, operator: RunningOperator
) -> None:
    with an_s3_team(api, s3_class) as team:
        metadata = {"name": "mlflow-artifacts", "namespace": team.namespace, "labels": {WATCH_LABEL: "true"}}
        api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "mine"}})
        team.serve()

        condition = team.wait_for_condition(
            "ArtifactStoreReady", reason="Conflict", seconds=SECONDS_TO_NOTICE
        )

        assert "mlflow-artifacts" in condition["message"]
        assert team.find(DEPLOYMENT) is None
        assert team.job() is None
        assert team.users() == []
        assert team.statements() == []

        api.delete(SECRET, team.namespace, "mlflow-artifacts")
        team.check()
        team.wait_for(DEPLOYMENT, "mlflow")


def test_a_success_is_remembered_so_that_a_job_that_is_gone_does_not_run_again(
    s3_team: S3Team, operators: OperatorHost, calls: OperatorCalls
) -> None:
    operators.share()
    team = s3_team
    team.served()
    settle(team)
    team.api.delete(JOB, team.namespace, "mlflow-check-artifacts")
    team.wait_until_gone(JOB, "mlflow-check-artifacts")
    checked = team.server()["status"]["artifactStore"]["checked"]
    operators.make_room()
    calls.mark()
    since = team.store.log_size()

    operators.share()
    requeue_after(team)
    wait_until(lambda: verified(team, since), SECONDS_TO_NOTICE, "the operator has looked at the prefix")

    team.wait_for_condition("ArtifactStoreReady", status="True")
    assert team.job() is None
    assert team.server()["status"]["artifactStore"]["checked"] == checked
    assert not calls.writes(team.namespace)


def test_a_settled_server_costs_no_request_and_no_write(
    s3_team: S3Team, operators: OperatorHost, calls: OperatorCalls
) -> None:
    operators.share()
    team = s3_team
    team.served()
    settle(team)
    since = team.store.log_size()
    calls.mark()

    for number in range(5):
        requeue_after(team, str(number))
    wait_until(lambda: len(probes(team, since)) >= 2, 20, "the class's bucket was probed twice")

    assert not without_probes(team, since), without_probes(team, since)
    assert not calls.writes(team.namespace)


def test_a_creation_and_a_resync_cost_few_requests(s3_team: S3Team, operators: OperatorHost) -> None:
    operators.share()
    team = s3_team
    team.served("first")
    since = team.store.log_size()
    team.served()
    creation = without_probes(team, since)
    operators.make_room()
    since = team.store.log_size()

    operators.share()
    wait_until(lambda: len(probes(team, since)) >= 3, 20, "the bucket was looked at and probed")

    resync = without_probes(team, since)
    assert len(creation) <= MOST_REQUESTS_OF_A_CREATION, creation
    assert len(resync) <= MOST_REQUESTS_OF_A_RESYNC, resync
    for name in ("first", "mlflow"):
        assert sum(one.path.endswith(mark_key(team, name)) for one in resync) == 1
    assert {one.method for one in resync} == {"GET"}, "nothing is written"


def test_many_servers_at_once_all_get_in_and_foreign_statements_stay(
    s3_team: S3Team, s3_class: S3Class, operator: RunningOperator
) -> None:
    team = s3_team
    s3_class.wait_for()
    foreign = json.loads(json.dumps(FOREIGN).replace("{bucket}", team.bucket))
    team.store.set_policy(team.bucket, foreign)
    names = [f"server-{number}" for number in range(MANY)]

    for name in names:
        team.serve(name, suspend=True)
    for name in names:
        team.check(name)
    for name in names:
        team.wait_for_condition("ArtifactStoreReady", status="True", name=name, seconds=SECONDS_FOR_MANY)

    assert all(len(team.statements(name)) == 2 for name in names)
    assert all(team.works(name) for name in names)
    assert foreign in team.store.statements(team.bucket)
    assert len(team.store.statements(team.bucket)) == 2 * MANY + 2  # and what is denied over plain HTTP


@pytest.fixture(scope="module")
def hurried(api: KubeApi, operators: OperatorHost, object_store: RealObjectStore) -> Iterator[S3Team]:
    """A team with a server, and an operator that takes another look every two seconds."""
    operators.make_room()
    operators.start(resync=RESYNC_SECONDS).wait_until_active()
    with an_s3_class(api, object_store) as class_, an_s3_team(api, class_) as team:
        team.served()
        yield team
    operators.make_room()


@pytest.mark.parametrize(
    "what", ["statements", "rights", "user", "widened", "key"], ids=lambda what: f"{what}-tampered"
)
def test_what_somebody_changed_in_the_object_store_is_put_right(what: str, hurried: S3Team) -> None:
    team, store = hurried, hurried.store
    before = team.statements()
    (user,) = team.users()

    match what:
        case "statements":
            store.client().delete_bucket_policy(Bucket=team.bucket)
        case "rights":
            store.set_policy(team.bucket, *(one for one in before if "Condition" in one))
        case "widened":
            store.set_policy(team.bucket, *(one | {"Principal": {"AWS": ["*"]}} for one in before))
        case "user":
            store.admin_api.remove(user)
        case "key":
            store.admin_api.keep(User(user, "of-somebody-else", "admin"))
        case _:
            raise ValueError(what)

    wait_until(
        lambda: as_before(team, before) and team.works() and not team.may("list", ""),
        SECONDS_TO_RESYNC,
        lambda: f"it is as it was; the policy is {store.policy(team.bucket)}, users are {store.users()}",
    )
    assert team.users() == [user]


@pytest.mark.parametrize("proxied", [True, False], ids=["proxied", "direct"])
def test_clients_get_keys_only_if_they_reach_the_store_themselves(
    proxied: bool, s3_team: S3Team, operator: RunningOperator
) -> None:
    team = s3_team
    deployment = team.served(artifactStore={"proxied": proxied, "s3": {}})

    status, settings = team.server()["status"], team.get(CONFIG_MAP, "mlflow-client")["data"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    secret = team.find(SECRET, "mlflow-client")
    assert status["artifactRoot"] == f"s3://{team.bucket}/{team.namespace}/mlflow"
    if proxied:
        assert secret is None
        assert "secretName" not in status["client"]
        assert not any("S3" in key or key.startswith("AWS") for key in settings)
        return
    assert secret is not None
    assert status["client"]["secretName"] == "mlflow-client"
    assert settings["MLFLOW_S3_ENDPOINT_URL"] == team.store.endpoint
    keys = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert keys == {
        "AWS_ACCESS_KEY_ID": team.keys().access_key_id,
        "AWS_SECRET_ACCESS_KEY": team.keys().secret_access_key,
    }
    assert "--no-serve-artifacts" in container["args"]


def test_a_secret_of_the_teams_own_is_waited_for_and_tried_out(
    api: KubeApi, object_store: RealObjectStore, operator: RunningOperator
) -> None:
    with (
        an_s3_class(api, object_store, identity={"secret": {}}) as class_,
        an_s3_team(api, class_) as team,
    ):
        team.serve()
        condition = team.wait_for_condition(
            "ArtifactStoreReady", reason="SecretNotFound", seconds=SECONDS_TO_NOTICE
        )
        assert "mlflow-s3" in condition["message"]
        assert team.find(DEPLOYMENT) is None
        keys = object_store.make_user()
        metadata = {"name": "mlflow-s3", "namespace": team.namespace, "labels": {WATCH_LABEL: "true"}}
        half = {"accessKeyId": keys.access_key_id}
        api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": half})
        condition = team.wait_for_condition(
            "ArtifactStoreReady", reason="SecretKeyMissing", seconds=SECONDS_TO_NOTICE
        )
        assert "secretAccessKey" in condition["message"]
        assert team.find(DEPLOYMENT) is None

        team.patch(SECRET, {"stringData": {"secretAccessKey": keys.secret_access_key}}, "mlflow-s3")

        pod = team.job_pod()
        assert "--own-keys" in pod["spec"]["containers"][0]["command"]
        assert "mlflow-s3" in json.dumps(pod["spec"]["volumes"])
        said = "With the keys of the Secret, outside it is possible to list the whole bucket."
        team.end(pod, reason="ReachesBeyondPrefix", message=said)
        condition = team.wait_for_condition("ArtifactStoreReady", reason="ReachesBeyondPrefix")
        assert condition["status"] == "True"
        assert said in condition["message"]
        deployment = team.wait_for(DEPLOYMENT, "mlflow")
        assert "mlflow-s3" in json.dumps(deployment["spec"]["template"]["spec"]["volumes"])
        assert team.users() == []
        assert team.statements() == []
        requeue_after(team)
        team.wait_for_condition("ArtifactStoreReady", reason="ReachesBeyondPrefix")
        assert team.get(DEPLOYMENT)["spec"] == deployment["spec"]


def test_a_role_that_the_object_store_does_not_know_is_named(
    api: KubeApi, object_store: RealObjectStore, operator: RunningOperator
) -> None:
    with (
        an_s3_class(api, object_store, identity={"irsa": {"roleArnTemplate": IRSA_ROLE}}) as class_,
        an_s3_team(api, class_) as team,
    ):
        team.serve()

        condition = team.wait_for_condition(
            "ArtifactStoreReady", reason="IdentityNotFound", seconds=SECONDS_TO_NOTICE
        )

        arn = f"arn:aws:iam::123456789012:role/mlflow-{team.namespace}.mlflow"
        assert arn in condition["message"]
        assert team.find(DEPLOYMENT) is None
        assert team.statements() == []


def test_a_role_of_all_servers_needs_no_keys_and_no_statements_here(
    api: KubeApi, object_store: RealObjectStore, operator: RunningOperator
) -> None:
    with (
        an_s3_class(api, object_store, isolation="abac", identity={"podIdentity": {}}) as class_,
        an_s3_team(api, class_) as team,
    ):
        deployment = team.served()

        assert list(team.secret()["data"]) == ["ca.crt"]
        assert "AWS_SHARED_CREDENTIALS_FILE" not in json.dumps(deployment["spec"])
        assert ROLE_ANNOTATION not in json.dumps(team.get(SERVICE_ACCOUNT)["metadata"])
        assert team.users() == []
        assert team.statements() == []


def test_a_role_of_the_servers_own_is_on_its_service_account_and_needs_no_keys(tmp_path: Path) -> None:
    objects = list(yaml.safe_load_all(rendered(tmp_path)))

    (account,) = [obj for obj in objects if obj["kind"] == "ServiceAccount"]
    assert account["metadata"]["annotations"][ROLE_ANNOTATION] == RENDERED_ROLE
    (deployment,) = [obj for obj in objects if obj["kind"] == "Deployment"]
    assert "AWS_SHARED_CREDENTIALS_FILE" not in json.dumps(deployment)
    assert not [obj for obj in objects if obj["kind"] == "Secret"]


def test_the_printed_trust_policy_is_for_one_service_account_only(tmp_path: Path) -> None:
    documents = json.loads(rendered(tmp_path, "--iam"))

    assert documents["role"] == RENDERED_ROLE
    (statement,) = documents["trustPolicy"]["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {
            f"{ISSUER}:sub": "system:serviceaccount:team-a:mlflow",
            f"{ISSUER}:aud": "sts.amazonaws.com",
        }
    }


def rendered(folder: Path, *options: str) -> str:
    """What `tracking-operator render` prints for a server with a role of its own."""
    identity = {"irsa": {"roleArnTemplate": IRSA_ROLE, "oidcProvider": ISSUER}}
    class_ = {
        "apiVersion": API_VERSION,
        "kind": "TrackingServerClass",
        "metadata": {"name": "prod"},
        "spec": generous({"s3": {"bucket": "ml-artifacts", "identity": identity}}),
    }
    server = {
        "apiVersion": API_VERSION,
        "kind": "TrackingServer",
        "metadata": {"name": "mlflow", "namespace": "team-a"},
        "spec": {"className": "prod"},
    }
    (folder / "class.yaml").write_text(json.dumps(class_))
    (folder / "server.yaml").write_text(json.dumps(server))
    command = [sys.executable, "-m", "tracking_operator", "render", "server.yaml", "--class", "class.yaml"]
    return subprocess.run([*command, *options], cwd=folder, check=True, capture_output=True, text=True).stdout


def flat(value: object) -> list[str]:
    """One element or a list of them."""
    return [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]


def mark_key(team: S3Team, name: str = "mlflow") -> str:
    """Where the bucket says whose a server's prefix is."""
    return f".tracking-operator/prefixes/{team.namespace}/{name}/owner.json"


def as_before(team: S3Team, before: list[Document]) -> bool:
    """Whether the statements of the server are what they were, in whatever order."""
    return sorted(map(json.dumps, team.statements())) == sorted(map(json.dumps, before))


def settle(team: S3Team) -> None:
    """Wait until nothing about a server changes any more by itself."""
    team.wait_for_condition("Ready", reason="Unschedulable")
    team.wait_until_so(
        TRACKING_SERVER, "mlflow", lambda live: live["status"]["replicas"] == 1, "its pod is counted"
    )


def requeue_after(team: S3Team, why: str = "again") -> None:
    """Have the operator look at the server."""
    team.patch_server({"metadata": {"annotations": {"example.com/look": why}}})


def probes(team: S3Team, since: int) -> list[Request]:
    """The requests by which the class asks whether its bucket answers."""
    return [one for one in team.store.requests(since=since, bucket=team.bucket) if one.method == "HEAD"]


def without_probes(team: S3Team, since: int) -> list[Request]:
    """All other requests about the bucket."""
    return [one for one in team.store.requests(since=since, bucket=team.bucket) if one.method != "HEAD"]


def verified(team: S3Team, since: int) -> bool:
    """Whether the server's mark was read since the log was so long."""
    return any(mark_key(team) in one.path for one in team.store.requests(since=since))
