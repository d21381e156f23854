"""The keys of a server's prefix: in their Secrets only, and exchanged on request or by age without a gap."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.kube_api import KubeApi
from tests.operator_fixtures import CHILD_KINDS, OperatorHost, RunningOperator
from tests.operator_object_store import RealObjectStore, S3Team, an_s3_class, an_s3_team, may
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import ROTATE_CREDENTIALS_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    EVENT,
    JOB,
    POD,
    REPLICA_SET,
    SECRET,
    KubeObject,
    name_of,
    uid_of,
)
from tracking_operator.resources.secret import ROTATED_AT_ANNOTATION
from tracking_operator.stores.s3.bucket_address import Keys

pytest_plugins = ["tests.operator_object_store"]

SECONDS_TO_NOTICE = 20.0
SECONDS_TO_RETIRE = 20.0
"""Ten between two looks, and what a busy machine takes."""
SECONDS_TO_START = 40
"""What an operator takes to start on a busy machine, while the age of keys goes on."""


def test_the_keys_of_a_prefix_appear_nowhere_but_in_their_secrets(
    api: KubeApi, object_store: RealObjectStore, operators: OperatorHost
) -> None:
    operators.make_room()
    operator = operators.start(log_level="DEBUG")
    operator.wait_until_active()
    with an_s3_class(api, object_store) as class_, an_s3_team(api, class_) as team:
        team.served(artifactStore={"proxied": False, "s3": {}})
        known = [class_.admin, team.keys()]
        rotate(team)
        known.append(changed_keys(team, known[-1]))
        team.check()
        team.wait_for_condition("ArtifactStoreReady", status="True")
        class_.give_admin(Keys(class_.admin.access_key_id, "of-nobody"))
        class_.wait_for("LoginRefused")
        class_.give_admin(class_.admin)
        class_.wait_for()

        seen = [
            obj
            for kind in (*CHILD_KINDS, TRACKING_SERVER, EVENT, POD, REPLICA_SET, JOB, SECRET)
            for obj in api.list(kind, team.namespace)
            if (obj["kind"], name_of(obj))
            not in (("Secret", "mlflow-artifacts"), ("Secret", "mlflow-client"))
        ]
        seen += [api.get(TRACKING_SERVER_CLASS, None, class_.name), *api.list(EVENT, "default")]
        assert {"Deployment", "Event", "Pod", "Job"} <= {obj["kind"] for obj in seen}
        texts = {f"{obj['kind']} {name_of(obj)}": json.dumps(obj) for obj in seen}
        texts["the operator's log"] = operator.log_text()
        for keys in known:
            for secret in (
                keys.secret_access_key,
                base64.b64encode(keys.secret_access_key.encode()).decode(),
            ):
                assert [where for where, text in texts.items() if secret in text] == []
    operators.make_room()


def test_a_rotation_on_request_lets_both_keys_in_until_the_pods_use_the_new_ones(
    s3_team: S3Team, operators: OperatorHost
) -> None:
    operators.share()
    team = s3_team
    before = team.served()["spec"]["template"]
    old = team.keys()

    rotate(team)

    new = changed_keys(team, old)
    assert new.access_key_id != old.access_key_id
    assert works(team, old)
    assert works(team, new)
    team.check()
    condition = team.wait_for_condition("ArtifactStoreReady", reason="RotatingCredentials", status="True")
    assert new.access_key_id in condition["message"]
    deployment = team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: live["spec"]["template"] != before, "pods are made anew"
    )

    make_older(team, operators)  # the pause is over, and pods have not been rolled
    team.patch_server({"metadata": {"annotations": {"example.com/look": "again"}}})
    team.settled()
    assert works(team, old)
    serve_pods(team, deployment)

    wait_until(lambda: not works(team, old), SECONDS_TO_RETIRE, "the old keys are void")
    assert works(team, new)
    assert team.users() == [new.access_key_id]
    team.wait_for_condition("ArtifactStoreReady", reason="AsExpected")
    assert team.keys() == new
    assert all(
        one["Principal"]["AWS"] in (new.access_key_id, [new.access_key_id]) for one in team.statements()
    )


def test_the_old_keys_work_for_two_minutes_after_the_new_ones_came(
    s3_team: S3Team, operators: OperatorHost
) -> None:
    operators.share()
    team = s3_team
    team.served(suspend=True)
    old = team.keys()
    rotate(team)
    changed_keys(team, old)
    team.check()
    team.wait_for_condition("ArtifactStoreReady", reason="RotatingCredentials", status="True")

    make_older(team, operators, timedelta(seconds=120 - SECONDS_TO_START))

    assert works(team, old)
    wait_until(lambda: not works(team, old), SECONDS_TO_START + SECONDS_TO_RETIRE, "the old keys are void")
    assert team.works()


def test_keys_that_are_too_old_are_exchanged(
    api: KubeApi, object_store: RealObjectStore, operators: OperatorHost
) -> None:
    operators.share()
    with (
        an_s3_class(api, object_store, identity={"versitygw": {"rotateEvery": "24h"}}) as class_,
        an_s3_team(api, class_) as team,
    ):
        team.served(suspend=True)
        old = team.keys()

        make_older(team, operators, timedelta(hours=25))

        new = changed_keys(team, old)
        assert works(team, old)
        assert works(team, new)
        make_older(team, operators)
        wait_until(lambda: not works(team, old), SECONDS_TO_RETIRE, "the old keys are void")
        assert team.keys() == new


def test_clients_that_reach_the_store_themselves_keep_their_keys_for_an_hour(
    s3_team: S3Team, operators: OperatorHost
) -> None:
    operators.share()
    team = s3_team
    team.served(suspend=True, artifactStore={"proxied": False, "s3": {}})
    old = team.keys()
    rotate(team)
    new = changed_keys(team, old)
    team.wait_until_so(SECRET, "mlflow-client", lambda live: new == client_keys(live), "clients are told")
    make_older(team, operators, timedelta(minutes=55))
    team.check()
    team.wait_for_condition("ArtifactStoreReady", reason="RotatingCredentials", status="True")
    assert works(team, old)

    make_older(team, operators, timedelta(minutes=61))

    wait_until(lambda: not works(team, old), SECONDS_TO_RETIRE, "the old keys are void")
    assert works(team, new)


@pytest.mark.parametrize("change", ["deleted", "emptied", "of-somebody-else"])
def test_a_secret_that_was_tampered_with_holds_keys_that_work_again(
    change: str, s3_team: S3Team, operator: RunningOperator
) -> None:
    team = s3_team
    team.served()
    before = team.secret()

    if change == "deleted":
        team.api.delete(SECRET, team.namespace, "mlflow-artifacts")
    else:
        text = "" if change == "emptied" else "[default]\naws_access_key_id=root\naws_secret_access_key=x\n"
        team.patch(SECRET, {"stringData": {"credentials": text}}, "mlflow-artifacts")

    wait_until(lambda: is_right(team), SECONDS_TO_NOTICE, "it holds keys that work")
    assert team.secret()["data"]["ca.crt"] == before["data"]["ca.crt"]
    assert team.users() == [team.keys().access_key_id]
    if change == "of-somebody-else":
        team.check()
    else:
        assert team.secret()["data"] == before["data"]
    team.wait_for_condition("ArtifactStoreReady", status="True")


def rotate(team: S3Team) -> None:
    """Ask for new keys."""
    team.patch_server({"metadata": {"annotations": {ROTATE_CREDENTIALS_ANNOTATION: "now"}}})


def changed_keys(team: S3Team, old: Keys) -> Keys:
    """The keys in the Secret as soon as they are others."""
    wait_until(lambda: team.keys() != old, SECONDS_TO_NOTICE, "the Secret holds other keys")
    return team.keys()


def works(team: S3Team, keys: Keys) -> bool:
    """Whether keys open the prefix."""
    return may(team.store.client(keys), "put", team.bucket, f"{team.namespace}/mlflow/tried")


def is_right(team: S3Team) -> bool:
    """Whether the Secret was written again, and opens the prefix."""
    found = team.find(SECRET, "mlflow-artifacts")
    return found is not None and has_keys(found) and team.works()


def has_keys(secret: KubeObject) -> bool:
    """Whether there are keys in a Secret that look like a server's."""
    return b"mlflow-" in base64.b64decode(secret["data"].get("credentials", ""))


def client_keys(secret: KubeObject) -> Keys:
    """The keys in the Secret of the clients."""
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    return Keys(data["AWS_ACCESS_KEY_ID"], data["AWS_SECRET_ACCESS_KEY"], source="Secret mlflow-artifacts")


def make_older(team: S3Team, operators: OperatorHost, age: timedelta = timedelta(minutes=10)) -> None:
    """Let the operator think that the keys were made so long ago; the one that made them would know better."""
    operators.make_room()
    then = (datetime.now(UTC) - age).replace(microsecond=0).isoformat()
    team.patch(SECRET, {"metadata": {"annotations": {ROTATED_AT_ANNOTATION: then}}}, "mlflow-artifacts")
    operators.share()


def serve_pods(team: S3Team, deployment: KubeObject) -> None:
    """Report the Deployment's newest pod as ready, as the kubelet does."""

    def newest() -> KubeObject | None:
        sets = team.api.list(REPLICA_SET, team.namespace)
        wanted = [
            uid_of(one)
            for one in sets
            if one["spec"]["template"]["metadata"]["annotations"]
            == deployment["spec"]["template"]["metadata"]["annotations"]
        ]
        pods = team.api.list(POD, team.namespace)
        return next((pod for pod in pods if owner_uid(pod) in wanted), None)

    pod = wait_until(newest, SECONDS_TO_NOTICE, "the new pod is there")
    conditions = [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]
    team.api.patch_status(POD, team.namespace, name_of(pod), {"phase": "Running", "conditions": conditions})


def owner_uid(pod: KubeObject) -> str:
    """The UID of what a pod belongs to."""
    return str(pod["metadata"]["ownerReferences"][0]["uid"])
