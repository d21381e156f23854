"""Servers with databases of their own: until they are Ready, and what making a database takes."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import psycopg2
from psycopg2.sql import SQL, Composable, Identifier

from bench.report import Table
from bench.samples import Samples, duration, ratio, verdict
from bench.servers import NAME, is_ready
from bench.stage import Stage
from bench.watching import Sighting
from dev.classes import generous
from dev.database import deploy_postgres
from dev.postgres import PostgresServer as RunningServer
from dev.postgres import postgres_server
from tracking_operator.api.labels_and_annotations import API_VERSION, COMPONENT_LABEL
from tracking_operator.api.tracking_server_class import SslMode
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import POD, KubeObject, kind_of, name_of, namespace_of
from tracking_operator.passwords import new_password
from tracking_operator.resources.labels import MIGRATION_COMPONENT, SERVER_COMPONENT
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.database_server import Login, PostgresServer
from tracking_operator.stores.postgres.provision import provision
from tracking_operator.stores.postgres.schema_revision import read_schema
from tracking_operator.stores.postgres.sessions import Sessions
from tracking_operator.stores.postgres.tenant import Desired, Tenant

CLASS: Final = "bench-postgres"
READY_AIM_SECONDS: Final = 30.0
READY_PATIENCE_SECONDS: Final = 300.0
PROVISIONING_AIM: Final = 2.0
CROWD: Final = 100
CROWD_PATIENCE_SECONDS: Final = 600.0
VERSIONS: Final = ("15", "18")
NOWHERE: Final[KubeObject] = {"podTemplate": {"nodeSelector": {"no-such-node": "true"}}}
"""What keeps all pods of a server from running: no node takes them."""
ADMIN: Final = "admin"
PORT: Final = 54321

Matches = Callable[[Sighting], bool]


def pod(component: str, is_so: Callable[[KubeObject], bool]) -> Matches:
    """Whether a change shows a pod of a component that is so."""
    return lambda sighting: (
        kind_of(sighting.obj) == POD
        and sighting.obj["metadata"]["labels"].get(COMPONENT_LABEL) == component
        and is_so(sighting.obj)
    )


def condition(type_: str) -> Matches:
    """Whether a change shows a server with a condition that is true."""
    return lambda sighting: (
        kind_of(sighting.obj) == TRACKING_SERVER
        and any(
            one["type"] == type_ and one["status"] == "True"
            for one in (sighting.obj.get("status") or {}).get("conditions") or ()
        )
    )


def runs(pod: KubeObject) -> bool:
    """Whether a container of a pod runs, or has run."""
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(state in container["state"] for container in containers for state in ("running", "terminated"))


def answers(pod: KubeObject) -> bool:
    """Whether a container of a pod is ready."""
    return any(
        container.get("ready") for container in (pod.get("status") or {}).get("containerStatuses") or ()
    )


Phases = Sequence[tuple[str, Matches]]

PHASES: Final[Phases] = (
    ("database, roles and Secret made, verified by a login", condition("BackendStoreReady")),
    ("migration's container runs", pod(MIGRATION_COMPONENT, runs)),
    ("schema made (MLflow's own migrations), Job complete", condition("SchemaReady")),
    ("server's pod: volume, init container, MLflow's container runs", pod(SERVER_COMPONENT, runs)),
    ("MLflow answers: pod Ready", pod(SERVER_COMPONENT, answers)),
    ("Deployment available, status says Ready", lambda sighting: is_ready(sighting.obj)),
)


@dataclass(frozen=True)
class Provisionings:
    """What making databases took on one version of PostgreSQL, beside a bare CREATE DATABASE."""

    version: str
    tenants: Samples
    """Connecting as the admin, then all that `provision` does."""
    proofs: Samples
    """The login as the tenant that follows, and the schema revision that it reads."""
    bare: Samples
    """Connecting as the admin, then CREATE DATABASE."""
    statements_to_make: int
    statements_to_verify: int


@dataclass(frozen=True)
class Databases:
    """Everything that was measured about servers with databases of their own."""

    starts: Sequence[tuple[float, ...]]
    """For each server the seconds to the end of each phase."""
    crowd: Samples
    """For each of a hundred servers at once, the seconds from the first request until BackendStoreReady."""
    provisionings: Sequence[Provisionings]


async def measure_databases(stage: Stage) -> Databases:
    """Start servers one after the other, then a hundred at once; measure provisioning apart from all that."""
    provisionings = [
        await asyncio.to_thread(_measure_provisioning, version, stage.repeat) for version in VERSIONS
    ]
    postgres = await asyncio.to_thread(deploy_postgres, stage.cluster)
    await stage.kube.apply(
        {
            "apiVersion": API_VERSION,
            "kind": "TrackingServerClass",
            "metadata": {"name": CLASS},
            "spec": generous({"postgres": postgres.class_spec()}),
        }
    )
    starts = [
        await start_server(stage, namespace, CLASS, PHASES)
        for namespace in await stage.make_namespaces("database", stage.repeat)
    ]
    return Databases(starts, await _crowd(stage), provisionings)


async def start_server(
    stage: Stage, namespace: str, class_name: str, phases: Phases, *, keep: bool = False
) -> tuple[float, ...]:
    """Make a server of a class; return the seconds to the end of each phase, when its pod is gone again.

    With ``keep`` it stays. Raises NotSeenError: a phase does not end.
    """
    since = stage.watcher.mark()
    await stage.kube.create(server_of(class_name, namespace, NAME, {}))
    asked = time.monotonic()
    reached = []
    for what, matches in phases:
        sighting = await stage.watcher.first(
            lambda sighting, matches=matches: namespace_of(sighting.obj) == namespace and matches(sighting),  # type: ignore[misc]
            f"{what} in namespace {namespace}",
            since=since,
            patience=READY_PATIENCE_SECONDS,
        )
        reached.append(sighting.moment - asked)
    if not keep:
        await _remove(stage, namespace, since)
    return tuple(reached)


async def _remove(stage: Stage, namespace: str, since: int) -> None:
    await stage.kube.delete(TRACKING_SERVER, namespace, NAME)
    await stage.watcher.first(
        lambda sighting: (
            namespace_of(sighting.obj) == namespace
            and sighting.change == "DELETED"
            and pod(SERVER_COMPONENT, lambda _: True)(sighting)
        ),
        f"the pod in namespace {namespace} is gone",
        since=since,
    )


async def _crowd(stage: Stage) -> Samples:
    """Make a hundred servers at once, whose pods no node takes: they play no part in making databases."""
    (namespace,) = await stage.make_namespaces("crowd", 1)
    names = [f"s{number:03}" for number in range(CROWD)]
    since, started = stage.watcher.mark(), time.monotonic()
    await asyncio.gather(*(stage.kube.create(server_of(CLASS, namespace, name, NOWHERE)) for name in names))
    seconds = []
    for name in names:
        sighting = await stage.watcher.first(
            lambda sighting, name=name: (  # type: ignore[misc]
                name_of(sighting.obj) == name and condition("BackendStoreReady")(sighting)
            ),
            f"server {name} of {CROWD} has its database",
            since=since,
            patience=CROWD_PATIENCE_SECONDS,
        )
        seconds.append(sighting.moment - started)
    for name in names:
        await stage.kube.delete(TRACKING_SERVER, namespace, name)
    return Samples.of(seconds)


def server_of(class_name: str, namespace: str, name: str, spec: KubeObject) -> KubeObject:
    """A server of a class."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TrackingServer",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"className": class_name} | spec,
    }


def _measure_provisioning(version: str, repeat: int) -> Provisionings:
    """Make tenants and bare databases by turns, as the same admin, on a server of this version."""
    password = new_password()
    with postgres_server(version, PORT, password, settings={"fsync": "on"}) as running:
        admin = _make_admin(running)
        server = PostgresServer("127.0.0.1", running.port, ssl_mode=SslMode.DISABLE)
        tenants, proofs, bare = [], [], []
        statements: list[Composable] = []
        _provision(server, admin, _desired("warm_up"), statements)
        _prove(server, _desired("warm_up"), statements)
        to_make = len(statements)
        for number in range(repeat):
            desired = _desired(f"tenant_{number}")
            tenants.append(_seconds(partial(_provision, server, admin, desired, [])))
            proofs.append(_seconds(partial(_prove, server, desired, [])))
            bare.append(_seconds(partial(_make_bare, server, admin, f"bare_{number}")))
        statements.clear()
        _provision(server, admin, _desired("warm_up"), statements)
        _prove(server, _desired("warm_up"), statements)
        return Provisionings(
            version, Samples.of(tenants), Samples.of(proofs), Samples.of(bare), to_make, len(statements)
        )


def _desired(name: str) -> Desired:
    tenant = Tenant.named(name, Mark("bench", "team", name))
    return Desired(tenant, tenant.logins[0], _password_of(name))


def _password_of(name: str) -> str:
    return f"the password of {name}"


def _provision(server: PostgresServer, admin: Login, desired: Desired, statements: list[Composable]) -> None:
    with Sessions(server, admin, watch=statements.append) as sessions:
        provision(sessions, desired)


def _prove(server: PostgresServer, desired: Desired, statements: list[Composable]) -> None:
    login = Login(desired.login, _password_of(desired.tenant.database))
    read_schema(server, login, desired.tenant, watch=statements.append)


def _make_bare(server: PostgresServer, admin: Login, name: str) -> None:
    with _connected(server, admin) as connection, connection.cursor() as cursor:
        cursor.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))


def _make_admin(running: RunningServer) -> Login:
    admin = Login(ADMIN, new_password())
    superuser = Login("postgres", running.superuser_password)
    with (
        _connected(PostgresServer("127.0.0.1", running.port), superuser) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"CREATE ROLE {ADMIN} LOGIN CREATEROLE CREATEDB PASSWORD %s", [admin.password])
    return admin


@contextmanager
def _connected(server: PostgresServer, login: Login) -> Iterator["psycopg2.extensions.connection"]:
    connection = psycopg2.connect(
        host=server.host, port=server.port, user=login.username, password=login.password, dbname="postgres"
    )
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def _seconds(work: Callable[[], None]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def database_tables(found: Databases) -> list[Table]:
    """Tell all of it."""
    return [
        _ready_table(found),
        phases_table("Where that time goes", PHASES, found.starts),
        _provisioning_table(found),
        _crowd_table(found),
    ]


def _ready_table(found: Databases) -> Table:
    ready = Samples.of([reached[-1] for reached in found.starts])
    aim = verdict(ready.median, READY_AIM_SECONDS, duration(READY_AIM_SECONDS))
    return Table(
        "A new server with a database of its own: until it is Ready",
        ("what", "n", "p50", "worst", "aim (p50)"),
        (("server → Ready", str(len(ready)), duration(ready.median), ready.worst, aim),),
        (
            "One after the other, images on the node, PostgreSQL 18 in the cluster with TLS, artifacts on a volume.",
        ),
    )


def phases_table(title: str, phases: Phases, starts: Sequence[tuple[float, ...]]) -> Table:
    """Tell how long each phase took, and when it ended."""
    rows = []
    before = [0.0] * len(starts)
    for number, (what, _) in enumerate(phases):
        reached = [start[number] for start in starts]
        own = [max(0.0, now - then) for now, then in zip(reached, before, strict=True)]
        rows.append((what, duration(statistics.median(own)), duration(statistics.median(reached))))
        before = reached
    return Table(title, ("phase", "p50", "p50 since the request"), tuple(rows))


def _provisioning_table(found: Databases) -> Table:
    rows = []
    for one in found.provisionings:
        times = one.tenants.median / one.bare.median
        rows.append(
            (
                f"PostgreSQL {one.version}",
                str(len(one.tenants)),
                duration(one.tenants.median),
                duration(one.bare.median),
                ratio(one.tenants.median, one.bare.median),
                verdict(times, PROVISIONING_AIM, f"{PROVISIONING_AIM:g} ×"),
                duration(one.proofs.median),
                str(one.statements_to_make),
                str(one.statements_to_verify),
            )
        )
    return Table(
        "Making one database with its roles, beside a bare CREATE DATABASE",
        (
            "server",
            "n",
            "provisioning",
            "bare",
            "ratio",
            "aim",
            "then: a login as the tenant",
            "statements",
            "to verify",
        ),
        tuple(rows),
        (
            "By turns on one server on this machine, as the same admin, each with its connection: three roles, the "
            "database, its privileges, read back; and CREATE DATABASE. The statements are those of provisioning and of the login "
            "after it. “To verify” is what a resync sends for a server that is as it should be; a look between two resyncs "
            "sends nothing. Beside CREATE DATABASE itself most of the time is two connections as the admin and one as the "
            "tenant (10 to 20 ms each, SCRAM and a new process).",
        ),
    )


def _crowd_table(found: Databases) -> Table:
    last = max(found.crowd.seconds)
    return Table(
        f"{CROWD} servers at once, until BackendStoreReady",
        ("p50", "last", "servers per second"),
        ((duration(found.crowd.median), duration(last), f"{CROWD / last:.1f}"),),
        (
            "From the first request. No pod runs: no node takes them. At most four databases are made at a time.",
        ),
    )
