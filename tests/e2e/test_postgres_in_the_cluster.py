"""The PostgreSQL of the demo and the tests: what its admin may do, how clients reach it, and that its data stays."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg2
import pytest

from dev.database import ClusterPostgres, deploy_postgres
from dev.database.manifests import LABELS
from dev.development_cluster import DevelopmentCluster
from dev.local_cluster.failures import ClusterError
from tests.kube_api import KubeApi
from tests.operator_fixtures import OPERATOR_NAMESPACE
from tracking_operator.kube.objects import CONFIG_MAP, POD, SECRET

pytest_plugins = ["tests.cluster_postgres"]


@pytest.fixture
def database(cluster_postgres: ClusterPostgres) -> Iterator[str]:
    """A database that the admin made."""
    name = f"test_{uuid4().hex[:8]}"
    as_admin(cluster_postgres, f"CREATE DATABASE {name}")
    yield name
    as_admin(cluster_postgres, f"DROP DATABASE {name}")


def as_admin(postgres: ClusterPostgres, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
    return postgres.query(sql, database=database, user=postgres.admin_username)


def test_the_admin_may_make_roles_and_databases_and_nothing_more(cluster_postgres: ClusterPostgres) -> None:
    (rights,) = as_admin(
        cluster_postgres,
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
        "WHERE rolname = current_user",
    )
    assert rights == (False, True, True, False, False)
    # It is a member of the roles that it made itself, as every admin is since PostgreSQL 16.
    of_the_system = r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'pg\_%' AND pg_has_role(oid, 'MEMBER')"
    assert as_admin(cluster_postgres, of_the_system) == []


def test_the_server_is_postgres_18_with_checksums_and_scram(cluster_postgres: ClusterPostgres) -> None:
    settings = "SELECT current_setting(name) FROM unnest(%s) AS name"
    names = ["data_checksums", "password_encryption", "max_connections"]
    assert cluster_postgres.query(settings, names) == [("on",), ("scram-sha-256",), ("200",)]
    ((version,),) = cluster_postgres.query("SHOW server_version_num")
    assert str(version).startswith("18")


def test_clients_speak_tls_with_a_server_that_proves_its_name(cluster_postgres: ClusterPostgres) -> None:
    ((is_encrypted, protocol),) = as_admin(
        cluster_postgres, "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    )
    assert (is_encrypted, protocol) == (True, "TLSv1.3")


def test_nobody_is_let_in_without_tls(cluster_postgres: ClusterPostgres) -> None:
    for user in (cluster_postgres.admin_username, "postgres"):
        with (
            pytest.raises(
                psycopg2.OperationalError, match=r"no pg_hba.conf entry for host .*, no encryption"
            ),
            cluster_postgres.connect(user=user, ssl_mode="disable"),
        ):
            pass


def test_only_the_admin_may_open_the_maintenance_databases(cluster_postgres: ClusterPostgres) -> None:
    role = f"test_{uuid4().hex[:8]}"
    as_admin(cluster_postgres, f"CREATE ROLE {role} LOGIN PASSWORD 'of a tenant'")
    try:
        for database in ("postgres", "template1"):
            with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                cluster_postgres.query("SELECT 1", database=database, user=role, password="of a tenant")
    finally:
        as_admin(cluster_postgres, f"DROP ROLE {role}")


def test_the_operator_is_told_of_it(api: KubeApi, cluster_postgres: ClusterPostgres) -> None:
    told = cluster_postgres.class_spec()
    assert (told["host"], told["port"], told["sslMode"]) == ("postgres.postgres.svc", 5432, "verify-full")
    assert told["adminSecretRef"] == {"name": "postgres-admin"}
    assert told["caConfigMapRef"] == {"name": "postgres-ca"}
    secret = api.get(SECRET, OPERATOR_NAMESPACE, "postgres-admin")
    assert set(secret["data"]) == {"username", "password"}
    assert secret["metadata"]["labels"]["tracking-operator.dev/watch"] == "true"
    authority = api.get(CONFIG_MAP, OPERATOR_NAMESPACE, "postgres-ca")["data"]["ca.crt"]
    assert authority == cluster_postgres.ca_certificate


def test_a_second_deployment_changes_nothing(
    cluster: DevelopmentCluster,
    api: KubeApi,
    cluster_postgres: ClusterPostgres,
) -> None:
    (before,) = pods(api, cluster_postgres)
    assert deploy_postgres(cluster) == cluster_postgres
    (after,) = pods(api, cluster_postgres)
    assert after == before


def test_data_outlives_the_pod(
    api: KubeApi,
    cluster_postgres: ClusterPostgres,
    database: str,
) -> None:
    as_admin(cluster_postgres, "CREATE TABLE notes AS SELECT 'still here' AS note", database)
    (before,) = pods(api, cluster_postgres)
    cluster_postgres.stop()
    try:
        assert pods(api, cluster_postgres) == []
        with pytest.raises((psycopg2.OperationalError, ClusterError)):
            cluster_postgres.query("SELECT 1")
    finally:
        cluster_postgres.start()
    assert pods(api, cluster_postgres) != [before]
    assert as_admin(cluster_postgres, "SELECT note FROM notes", database) == [("still here",)]


def pods(api: KubeApi, postgres: ClusterPostgres) -> list[str]:
    selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
    return [str(pod["metadata"]["uid"]) for pod in api.list(POD, postgres.namespace, selector)]
