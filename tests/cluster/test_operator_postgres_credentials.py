"""The credentials of a server's database: in one Secret only, put right when somebody changes them, and exchanged on request."""

import base64
import json
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2.sql import SQL, Identifier

from tests.kube_api import KubeApi
from tests.operator_fixtures import (
    CHILD_KINDS,
    LEASE_NAME,
    OPERATOR_NAMESPACE,
    OperatorHost,
    RunningOperator,
)
from tests.operator_postgres import (
    PostgresClass,
    PostgresTeam,
    RealPostgres,
    a_postgres_class,
    a_postgres_team,
    connected_by,
    settings_in,
)
from tests.stores.postgres.world import random_password
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import (
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
    WATCH_LABEL,
)
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    EVENT,
    JOB,
    LEASE,
    POD,
    REPLICA_SET,
    SECRET,
    KubeObject,
    uid_of,
)
from tracking_operator.resources.secret import ROTATED_AT_ANNOTATION

SECONDS_TO_RETIRE = 50.0
"""Thirty of quiet between two looks, and what a busy machine takes."""


def test_a_deleted_secret_comes_back_and_logs_in(
    postgres_team: PostgresTeam, operator: RunningOperator
) -> None:
    team = postgres_team
    team.served()
    deployment, old = team.get(DEPLOYMENT), team.secret()

    team.api.delete(SECRET, team.namespace, "mlflow-database")

    new = wait_until(lambda: newer(team, old), 10, "the Secret is made anew")
    wait_until(team.logs_in, 10, "it logs in")
    assert settings_in(new) == settings_in(old), "pods that run have no other password to wait for"
    assert team.get(DEPLOYMENT)["spec"] == deployment["spec"]


@pytest.mark.parametrize(
    "change", ["host=evil.example.com", "nonsense", "password=of-my-own", "user=somebody", ""], ids=str
)
def test_a_tampered_service_file_is_put_right(
    change: str, postgres_team: PostgresTeam, operator: RunningOperator
) -> None:
    team = postgres_team
    team.served()
    before = team.service_file()
    key = change.partition("=")[0]
    text = base64.b64decode(team.secret()["data"]["pg_service.conf"]).decode()
    lines = [change if line.startswith(f"{key}=") else line for line in text.splitlines()]
    tampered = "\n".join(lines) + "\n" if key in before else change

    team.patch(SECRET, {"stringData": {"pg_service.conf": tampered}}, "mlflow-database")

    wait_until(lambda: is_right(team, before) and team.logs_in(), 10, "it is right again, and logs in")


def test_a_tampered_label_owner_or_ca_of_the_secret_is_put_right(
    postgres_team: PostgresTeam, operator: RunningOperator
) -> None:
    team = postgres_team
    team.served()
    before = team.secret()

    team.patch(SECRET, {"stringData": {"ca.crt": "nobody"}}, "mlflow-database")

    wait_until(lambda: team.secret()["data"] == before["data"], 10, "the CA is right again")


def test_a_revocation_ends_logins_and_sessions_at_once_and_rolls_the_pods_once(
    postgres_team: PostgresTeam, operator: RunningOperator
) -> None:
    team = postgres_team
    deployment, old = team.served(), team.secret()
    with team.connected() as session, session.cursor() as cursor:
        team.patch_server({"metadata": {"annotations": {REVOKE_NOW_ANNOTATION: "leaked"}}})
        wait_until(
            lambda: (team.server()["status"].get("revocation") or {}).get("pods") == "leaked",
            10,
            lambda: f"it is recorded; {team.server()['status']}",
        )
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
    assert team.logs_in()
    with pytest.raises(psycopg2.OperationalError):
        connected_by(old).__enter__()
    new = team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: live["spec"] != deployment["spec"], "pods are made anew"
    )
    secret = team.secret()
    team.patch_server({"metadata": {"annotations": {"example.com/look": "again"}}})
    team.settled()
    assert team.secret()["data"] == secret["data"]
    assert team.get(DEPLOYMENT)["spec"] == new["spec"]


def test_the_password_of_a_database_appears_nowhere_but_in_its_secret(
    api: KubeApi, postgres: RealPostgres, operators: OperatorHost
) -> None:
    operators.make_room()
    operator = operators.start(log_level="DEBUG")
    operator.wait_until_active()
    since = postgres.log_size()
    admin = postgres.make_admin("CREATEROLE", "CREATEDB")
    with (
        a_postgres_class(api, postgres, admin=admin) as class_,
        a_postgres_team(api, class_) as team,
    ):
        team.served()
        passwords = [admin[1], team.service_file()["password"]]
        team.patch_server({"metadata": {"annotations": {ROTATE_CREDENTIALS_ANNOTATION: "now"}}})
        wait_until(lambda: team.service_file()["user"].endswith("_b"), 10, "the other login is in use")
        passwords.append(team.service_file()["password"])
        class_.give_admin(admin[0], "wrong")
        class_.wait_for("LoginRefused")
        class_.give_admin(*admin)
        class_.wait_for("AsExpected")

        seen = [
            obj
            for kind in (*CHILD_KINDS, TRACKING_SERVER, EVENT, POD, REPLICA_SET, JOB, SECRET)
            for obj in api.list(kind, team.namespace)
            if (kind, obj["metadata"]["name"]) != (SECRET, "mlflow-database")
        ]
        seen += [api.get(TRACKING_SERVER_CLASS, None, class_.name), *api.list(EVENT, "default")]
        assert {"Deployment", "Event", "Pod", "Job"} <= {obj["kind"] for obj in seen}
        for password in passwords:
            for text in (password, base64.b64encode(password.encode()).decode()):
                for obj in seen:
                    assert text not in json.dumps(obj), f"{obj['kind']} {obj['metadata']['name']}"
                assert text not in operator.log_text()
            if password != admin[1]:  # the superuser of this test wrote that one in clear
                assert password not in postgres.log_since(since), "only verifiers are sent"
        for obj in seen:
            assert "SCRAM-SHA-256$" not in json.dumps(obj)
        assert "SCRAM-SHA-256$" not in operator.log_text()
    operators.make_room()


@pytest.mark.parametrize("is_labelled", [True, False], ids=["labelled", "unlabelled"])
def test_a_changed_admin_secret_takes_effect_by_itself(
    is_labelled: bool, api: KubeApi, postgres: RealPostgres, operator: RunningOperator
) -> None:
    admin = postgres.make_admin("CREATEROLE", "CREATEDB")
    with (
        a_postgres_class(api, postgres, admin=admin, is_labelled=is_labelled) as class_,
        a_postgres_team(api, class_) as team,
    ):
        team.served()
        before = team.untouched()
        changed = random_password()
        postgres.sql(SQL("ALTER ROLE {} PASSWORD %s").format(Identifier(admin[0])), changed)
        class_.wait_for("LoginRefused")
        team.wait_for_condition("BackendStoreReady", reason="LoginRefused", seconds=10)
        assert team.untouched() == before

        class_.give_admin(admin[0], changed)

        class_.wait_for("AsExpected")
        team.wait_for_condition("BackendStoreReady", status="True", seconds=10)
        assert team.untouched() == before


def test_a_wrong_admin_secret_is_noticed_at_once_if_it_is_labelled(
    api: KubeApi, postgres: RealPostgres, operator: RunningOperator
) -> None:
    admin = postgres.make_admin("CREATEROLE", "CREATEDB")
    with a_postgres_class(api, postgres, admin=admin) as class_:
        class_.wait_for("AsExpected")

        class_.give_admin(admin[0], "wrong")

        class_.wait_for("LoginRefused", seconds=3)


def test_a_rotation_lets_the_other_login_in_at_once_and_leaves_the_server_as_ready_as_it_was(
    postgres_team: PostgresTeam, postgres_class: PostgresClass, operator: RunningOperator
) -> None:
    team, postgres = postgres_team, postgres_class.postgres
    deployment = team.served()
    name, old = team.database(), team.secret()
    team.wait_for_condition("Ready", reason="Unschedulable")

    with team.connected() as session, session.cursor() as cursor:
        team.patch_server({"metadata": {"annotations": {ROTATE_CREDENTIALS_ANNOTATION: "1"}}})
        wait_until(lambda: team.service_file()["user"] == f"{name}_b", 10, "the Secret names the other login")
        cursor.execute("SELECT session_user::text")
        assert cursor.fetchone() == (f"{name}_a",)
    assert team.logs_in()
    with connected_by(old):
        pass  # pods that have not seen the new Secret go on
    assert postgres.logins(name) == ["a", "b"]
    condition = team.wait_for_condition("BackendStoreReady", status="True", reason="RotatingCredentials")
    assert f"{name}_a to {name}_b" in condition["message"]
    ready = team.condition("Ready")
    assert ready is not None
    assert ready["reason"] == "Unschedulable"
    assert team.get(DEPLOYMENT)["spec"] == deployment["spec"]
    assert team.server()["status"]["database"]["loginRole"] == f"{name}_b"


def test_a_rotation_goes_on_where_a_killed_operator_has_left_it(
    api: KubeApi, postgres: RealPostgres, operators: OperatorHost
) -> None:
    operators.make_room()
    operator = operators.start()
    operator.wait_until_active()
    ask = {"metadata": {"annotations": {ROTATE_CREDENTIALS_ANNOTATION: "1"}}}
    with a_postgres_class(api, postgres) as class_, a_postgres_team(api, class_) as team:
        team.served("begun")
        team.served("swapped")
        begun, swapped = team.database("begun"), team.database("swapped")
        team.patch_server(ask, "swapped")
        wait_until(
            lambda: team.service_file("swapped")["user"] == f"{swapped}_b", 10, "the Secret is swapped"
        )
        operator.kill()
        # What an operator leaves that is killed after PostgreSQL has heard, and before the Secret has.
        let_in = SQL("ALTER ROLE {} LOGIN PASSWORD %s").format(Identifier(f"{begun}_b"))
        postgres.sql(let_in, random_password())
        team.patch_server(ask, "begun")
        for name in ("begun", "swapped"):
            make_older(team, name)
        api.delete(LEASE, OPERATOR_NAMESPACE, LEASE_NAME)

        operators.start().wait_until_active()

        wait_until(
            lambda: postgres.logins(swapped) == ["b"],
            SECONDS_TO_RETIRE,
            "the old login is gone",
            interval=0.5,
        )
        wait_until(
            lambda: team.service_file("begun")["user"] == f"{begun}_b", 20, "the rotation begins again"
        )
        team.wait_for_condition("BackendStoreReady", reason="AsExpected", name="swapped")
        assert team.logs_in("begun")
        assert team.logs_in("swapped")
    operators.make_room()


def test_a_secret_of_somebody_else_is_a_conflict_and_left_alone(
    postgres_team: PostgresTeam, operator: RunningOperator
) -> None:
    team = postgres_team
    labels = {WATCH_LABEL: "true"}  # so that its end is seen at once; without it, within fifteen seconds
    metadata = {"name": "mlflow-database", "namespace": team.namespace, "labels": labels}
    theirs = team.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "stringData": {"pg_service.conf": "mine"},
        }
    )

    team.serve()

    condition = team.wait_for_condition("BackendStoreReady", reason="Conflict", seconds=10)
    assert "mlflow-database" in condition["message"]
    assert team.secret() == theirs
    assert team.find(DEPLOYMENT) is None
    assert not team.postgres.has_database(team.database())

    team.api.delete(SECRET, team.namespace, "mlflow-database")

    team.wait_for_condition("BackendStoreReady", status="True", seconds=25)
    assert team.logs_in()


def newer(team: PostgresTeam, old: KubeObject) -> KubeObject | None:
    """The server's Secret, if it is another one."""
    found = team.find(SECRET, "mlflow-database")
    return found if found and uid_of(found) != uid_of(old) else None


def is_right(team: PostgresTeam, before: dict[str, str]) -> bool:
    """Whether the service file says what it did, the password aside."""
    now = settings_in(team.secret())
    return {**now, "password": ""} == {**before, "password": ""}


def make_older(team: PostgresTeam, name: str) -> None:
    """Let the operator think that the Secret was written ten minutes ago."""
    then = (datetime.now(UTC) - timedelta(minutes=10)).replace(microsecond=0).isoformat()
    team.patch(SECRET, {"metadata": {"annotations": {ROTATED_AT_ANNOTATION: then}}}, f"{name}-database")
