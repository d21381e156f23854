"""Every Secret that the operator writes is lost in every way there is: it comes back by itself, and what it lets in gets in.

One table: which Secret, what happens to it, and whether an operator knew what it held. A real API server, a real PostgreSQL and a
real object store; MLflow is a stand-in that knows its users. Real MLflow: tests/e2e/test_login.py and tests/stores.
"""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.cluster.test_operator_access import serve
from tests.cluster.test_operator_login import Mlflow, contents
from tests.kube_api import KubeApi
from tests.operator_fixtures import OperatorHost, a_team
from tests.operator_object_store import RealObjectStore, S3Class, S3Team, an_s3_class
from tests.operator_postgres import PostgresClass, PostgresTeam, RealPostgres, a_postgres_class
from tests.service_proxy import ServiceProxy
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import DEPLOYMENT, JOB, SECRET, KubeObject
from tracking_operator.resources.encryption_secret import LOST_AT_ANNOTATION

pytest_plugins = ["tests.operator_object_store"]

SECONDS = 30.0
SECONDS_TO_BE_READY = 120.0
"""For a class, on a machine that is busy."""
SECRETS = ("auth", "client", "database", "artifacts", "encryption")
"""What the Secrets of a server end in."""
LOSSES = ("deleted", "emptied", "first key gone")
BASIC: KubeObject = {"authentication": {"basic": {}}}


@dataclass(frozen=True)
class Server:
    """A server with all Secrets that there are, and what its clients and pods meet."""

    postgres: PostgresTeam
    objects: S3Team
    mlflow: Mlflow

    def known(self) -> dict[str, dict[str, str]]:
        """What is in all of its Secrets."""
        return {name: contents(self.postgres, f"mlflow-{name}") for name in SECRETS}

    def lose(self, name: str, how: str) -> None:
        """What happens to a Secret."""
        api, namespace, secret = self.postgres.api, self.postgres.namespace, f"mlflow-{name}"
        if how == "deleted":
            api.delete(SECRET, namespace, secret)
            return
        keys = sorted(contents(self.postgres, secret))
        gone = keys if how == "emptied" else keys[:1]
        api.patch(SECRET, namespace, secret, {"data": dict.fromkeys(gone)})

    def is_let_in(self) -> bool:
        """Whether all that the Secrets hold works, and MLflow's users have the passwords in them."""
        known = self.known()
        if not all(known.values()):
            return False
        auth, client = known["auth"], known["client"]
        users = {"admin": auth.get("password"), auth.get("clientUsername", ""): auth.get("clientPassword")}
        return (
            self.mlflow.users == users
            and client.get("MLFLOW_TRACKING_PASSWORD") == auth.get("clientPassword")
            and self.postgres.logs_in()
            and self.objects.works()
            and set(known["encryption"]) == {"kekPassphrase", "kekVersion", "webhookKey"}
        )

    def wait_until_let_in(self) -> None:
        """Wait for that."""
        wait_until(self.is_let_in, SECONDS, lambda: f"all let in; {self.postgres.server()['status']}")


@pytest.fixture(scope="module")
def classes(
    api: KubeApi, operators: OperatorHost, postgres: RealPostgres, object_store: RealObjectStore
) -> Iterator[tuple[PostgresClass, S3Class]]:
    """One class, with both kinds of stores and a login; the second one lends it its bucket."""
    operators.share()
    with ExitStack() as stack:
        buckets = stack.enter_context(an_s3_class(api, object_store))
        lent = api.get(TRACKING_SERVER_CLASS, None, buckets.name) or {}
        spec = {"s3": lent["spec"]["s3"], "access": BASIC}
        databases = stack.enter_context(a_postgres_class(api, postgres, spec=spec))
        buckets.wait_for(seconds=SECONDS_TO_BE_READY)
        databases.wait_for(type_="BackendStoreReady", seconds=SECONDS_TO_BE_READY)
        databases.wait_for(type_="ArtifactStoreReady", seconds=SECONDS_TO_BE_READY)
        yield databases, buckets


@pytest.fixture(scope="module")
def server(api: KubeApi, classes: tuple[PostgresClass, S3Class], servers: ServiceProxy) -> Iterator[Server]:
    """A server that serves, and whose every Secret is there."""
    databases, buckets = classes
    with a_team(api) as team:
        postgres = PostgresTeam(api, team.namespace, databases.name, databases.postgres)
        objects = S3Team(api, team.namespace, databases.name, buckets.bucket, buckets.store)
        made = Server(postgres, objects, Mlflow())
        service = f"mlflow.{team.namespace}.svc"
        servers.act(service, made.mlflow.respond)
        postgres.serve("mlflow", metadata=None)
        pod = postgres.migration_pod()
        with postgres.connected() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE alembic_version_auth (version_num VARCHAR(32))")
            cursor.execute("INSERT INTO alembic_version_auth VALUES ('abc')")
        postgres.set_revision("abc")
        postgres.end_migration(pod, revision="abc")
        made.mlflow.users["admin"] = contents(team, "mlflow-auth")["password"]
        objects.check()
        team.wait_for(DEPLOYMENT, "mlflow")
        serve(team)
        team.wait_for_condition("Exposed", status="True", seconds=SECONDS)
        yield made
        servers.forget(service)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("how", LOSSES)
def test_a_lost_secret_is_made_again_as_it_was_and_rolls_nobody(
    how: str, name: str, server: Server, operators: OperatorHost
) -> None:
    operators.share()
    server.wait_until_let_in()
    before, deployment = server.known(), server.postgres.get(DEPLOYMENT)

    server.lose(name, how)

    wait_until(lambda: server.known() == before, SECONDS, f"Secret {name} is as it was")
    assert server.is_let_in()
    assert server.postgres.get(DEPLOYMENT)["spec"] == deployment["spec"]


@pytest.mark.parametrize("name", ["auth", "database", "artifacts"])
def test_a_secret_out_of_an_old_backup_gives_way_to_the_one_that_pods_and_clients_have(
    name: str, server: Server, operators: OperatorHost
) -> None:
    operators.share()
    server.wait_until_let_in()
    before = server.known()
    password = base64.b64encode(b"out of an old backup").decode()
    data = {"password": password, "clientPassword": password} if name == "auth" else {}
    old = {"annotations": {"tracking-operator.dev/rotated-at": "2020-01-01T00:00:00+00:00"}}

    server.postgres.patch(SECRET, {"metadata": old, "data": data}, f"mlflow-{name}")

    def is_replaced() -> bool:
        live = server.postgres.get(SECRET, f"mlflow-{name}")
        return "2020" not in live["metadata"]["annotations"]["tracking-operator.dev/rotated-at"]

    wait_until(is_replaced, SECONDS, f"Secret {name} is the one of now")
    assert server.known() == before
    server.wait_until_let_in()


def test_all_that_are_lost_at_once_while_no_operator_runs_let_in_again(
    server: Server, operators: OperatorHost
) -> None:
    team = server.postgres
    operators.share()
    server.wait_until_let_in()
    operators.make_room()
    for name in SECRETS:
        server.lose(name, "deleted")
    operators.share()

    condition = team.wait_for_condition("Exposed", status="False", reason="LoginRefused", seconds=SECONDS)
    assert "mlflow-reset-login" in condition["message"]
    pod = server.objects.job_pod("mlflow", "reset-login")
    server.mlflow.users["admin"] = contents(team, "mlflow-auth")["password"]  # what the program in it does
    server.objects.end(pod)
    server.wait_until_let_in()
    # Told in SchemaReady until a pod has started, which looks itself what it cannot read.
    assert LOST_AT_ANNOTATION in team.get(SECRET, "mlflow-encryption")["metadata"]["annotations"]
    assert team.find(JOB, "mlflow-reset-login"), "it can be looked at for an hour"
