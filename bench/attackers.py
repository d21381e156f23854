"""Three teams that do whatever a tenant can do to the operator, bounded in count and time.

Each writes as a ServiceAccount that is bound to `admin` in its namespace, so that the API server's own fairness knows it. Only the
ConfigMaps with the operator's labels are written by the cluster's admin: admission refuses them to a team, and what is measured
is what they do where it does not. The attackers are a process of their own with the usual priority: whoever measures does so
before everybody else, and reads nothing of theirs.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import aiohttp
from psycopg2.sql import SQL, Identifier

from bench.measures.databases import server_of
from bench.operator_pods import OperatorPods
from bench.servers import NAME as SERVER
from bench.stage import Stage
from bench.watching import NotSeenError, watching
from dev.database import ClusterPostgres, deploy_postgres
from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.local_cluster.progress import say
from dev.service_account import kubeconfig_of
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import DEPLOYMENT, SERVICE, KubeObject, name_of

ACCOUNT: Final = "attacker"
CONFIG_MAPS: Final = 250
BYTES_OF_A_CONFIG_MAP: Final = 900_000
SERVERS: Final = 2_000
PATCHED_SERVERS: Final = 20
PATCHES_PER_SECOND: Final = 100
SLOW_READERS: Final = 200
HANGING_PODS: Final = 2
AT_ONCE: Final = 16
"""How many requests of one kind are under way."""
LONGEST_ATTACK_SECONDS: Final = 900.0
SECONDS_TO_BEGIN: Final = 300.0
SECONDS_BETWEEN_EDITS: Final = 1.0
PORTS: Final = (8080, 8081)

DATABASES: Final = {
    "slow": (
        "CREATE TABLE public.alembic_version (version_num text)",
        "BEGIN",
        "LOCK TABLE public.alembic_version IN ACCESS EXCLUSIVE MODE",
    ),
    "failing": ("CREATE TABLE public.alembic_version (other text)",),
    "flooding": (
        "CREATE TABLE public.alembic_version AS "
        "SELECT repeat('x', 1000000) AS version_num FROM generate_series(1, 600)",
    ),
}
"""What the hostile databases have in the place of the table that tells the schema's revision. They are plain tables: others
are refused before they are read. Whoever reads the slow one waits for a lock."""

HANG: Final = """
import socket
listener = socket.create_server(("", 5000))
kept = []
while True:
    kept = [*kept[-500:], listener.accept()]
"""


@dataclass(frozen=True)
class Namespaces:
    """Where the attackers are."""

    database: str
    flood: str
    storm: str

    @classmethod
    def of(cls, names: Sequence[str]) -> "Namespaces":
        """Three namespaces."""
        database, flood, storm = names
        return cls(database, flood, storm)


@contextlib.asynccontextmanager
async def attackers(stage: Stage, class_name: str, small: int) -> AsyncIterator[None]:
    """Have them at work while the block runs; ``small`` divides the numbers of what they make."""
    namespaces = await stage.make_namespaces("attacker", 3)
    stage.watcher.overlook(namespaces)
    words = ("-m", "bench.attackers", stage.cluster.name, class_name, str(small), *namespaces)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError("a process with pipes has them")
    try:
        if not await process.stdout.readline():
            raise NotSeenError("The attackers ended before they were at work.")
        yield
    finally:
        process.stdin.close()  # which ends them
        await process.wait()
    await asyncio.to_thread(stage.cluster.kubectl, "delete", "namespace", *namespaces, "--wait=false")


def main() -> None:
    """Attack until the standard input is closed; say one line on the standard output when all are at work."""
    parser = argparse.ArgumentParser(prog="python -m bench.attackers", description=__doc__)
    for word in ("cluster", "class_name"):
        parser.add_argument(word)
    parser.add_argument("small", type=int, help="what the numbers of what they make are divided by")
    parser.add_argument("namespaces", nargs=3)
    chosen = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    asyncio.run(_attack(chosen.cluster, chosen.class_name, Namespaces.of(chosen.namespaces), chosen.small))


async def _attack(cluster_name: str, class_name: str, where: Namespaces, small: int) -> None:
    cluster = development_cluster(cluster_name)
    postgres = await asyncio.to_thread(deploy_postgres, cluster)
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(await KubeClient.connect(cluster.kubeconfig_path))
        database, flood, storm = [
            _Attacker(await stack.enter_async_context(await _connect_as_team(cluster, one)), one, class_name)
            for one in (where.database, where.flood, where.storm)
        ]
        active_pod = await OperatorPods(cluster, admin).active_pod()
        stack.enter_context(await database.seize_databases(postgres))
        for work in (database.edit_databases(), storm.edit_servers()):
            stack.push_async_callback(_end, asyncio.create_task(work))
        stack.enter_context(await asyncio.to_thread(_slow_readers, cluster, active_pod))
        await storm.hang_services()
        async with asyncio.timeout(SECONDS_TO_BEGIN * 2):
            await _many(CONFIG_MAPS // small, lambda number: _make_config_map(admin, where.flood, number))
            say("attackers: large ConfigMaps are there")
        servers = _many(SERVERS // small, lambda number: flood.make_server(f"s{number}"))
        making = asyncio.create_task(servers)
        stack.push_async_callback(_end, making)
        await asyncio.wait([making], timeout=SECONDS_TO_BEGIN)
        say("attackers: many servers are there, or on their way")
        print("at work", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ApiError, aiohttp.ClientError, TimeoutError):
        await task


async def _many(count: int, make: Callable[[int], Awaitable[object]]) -> None:
    """Make many things, a few at a time; what the API server refuses is left out."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            with contextlib.suppress(ApiError):
                await make(number)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def _connect_as_team(cluster: DevelopmentCluster, namespace: str) -> KubeClient:
    """A client with the rights that a team has in its namespace."""
    await asyncio.to_thread(cluster.kubectl, "create", "serviceaccount", ACCOUNT, "--namespace", namespace)
    words = ("--clusterrole=admin", f"--serviceaccount={namespace}:{ACCOUNT}", "--namespace", namespace)
    await asyncio.to_thread(cluster.kubectl, "create", "rolebinding", ACCOUNT, *words)
    kubeconfig = await asyncio.to_thread(kubeconfig_of, cluster, namespace, ACCOUNT)
    with NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(kubeconfig)
        file.flush()
        return await KubeClient.connect(Path(file.name))


async def _make_config_map(kube: KubeClient, namespace: str, number: int) -> None:
    """A large one that looks like a server's."""
    labels = {SERVER_LABEL: f"s{number}", "app.kubernetes.io/managed-by": "tracking-operator"}
    await kube.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": namespace, "name": f"large-{number}", "labels": labels},
            "data": {"large": "x" * BYTES_OF_A_CONFIG_MAP},
        }
    )


@dataclass(frozen=True)
class _Attacker:
    """A hostile team, and what it writes in its namespace."""

    kube: KubeClient
    namespace: str
    class_name: str

    async def make_server(self, name: str) -> None:
        """A server without pods."""
        await self.kube.create(server_of(self.class_name, self.namespace, name, {"suspend": True}))

    async def seize_databases(self, postgres: ClusterPostgres) -> ExitStack:
        """Make servers with databases of their own, in which a table of MLflow's is another; the lock on it ends with the stack."""
        sessions = ExitStack()
        async with watching(self.kube, (TRACKING_SERVER,), self.namespace) as watcher:
            for name in DATABASES:
                await self.make_server(name)
            for name, statements in DATABASES.items():
                sighting = await watcher.first(
                    lambda sighting, name=name: (  # type: ignore[misc]
                        sighting.place == (TRACKING_SERVER, self.namespace, name)
                        and bool(((sighting.obj.get("status") or {}).get("database") or {}).get("loginRole"))
                    ),
                    f"server {self.namespace}/{name} has a database",
                    since=0,
                    patience=SECONDS_TO_BEGIN,
                )
                database = sighting.obj["status"]["database"]
                tenant = (str(database["name"]), str(database["role"]))
                sessions.enter_context(await asyncio.to_thread(_seize, postgres, *tenant, statements))
        return sessions

    async def edit_databases(self) -> None:
        """Have the operator ask these databases again and again."""
        ends = time.monotonic() + LONGEST_ATTACK_SECONDS
        for number in itertools.count():
            if time.monotonic() > ends:
                return
            for name in DATABASES:
                limit = 20 + number % 2
                await self._merge(name, {"backendStore": {"postgres": {"connectionLimit": limit}}})
            await asyncio.sleep(SECONDS_BETWEEN_EDITS)

    async def edit_servers(self) -> None:
        """Edit servers as fast as said; each edit is another problem, and so another Event."""
        names = [f"edited-{number}" for number in range(PATCHED_SERVERS)]
        for name in names:
            await self.kube.create(server_of("no-such-class", self.namespace, name, {"suspend": True}))
        started, sent = time.monotonic(), 0
        while time.monotonic() - started < LONGEST_ATTACK_SECONDS:
            due = int((time.monotonic() - started) * PATCHES_PER_SECOND)
            batch = range(sent, min(due, sent + AT_ONCE))
            await asyncio.gather(
                *(
                    self._merge(names[number % len(names)], {"className": f"no-such-class-{number}"})
                    for number in batch
                )
            )
            sent = max(due, batch.stop) if len(batch) == AT_ONCE else batch.stop
            await asyncio.sleep(0.01)

    async def hang_services(self) -> None:
        """A Ready server, and beside its pod others that its Service selects: they take requests and never answer."""
        async with watching(self.kube, (DEPLOYMENT,), self.namespace) as watcher:
            await self.kube.create(server_of(self.class_name, self.namespace, SERVER, {}))
            await watcher.first(
                lambda sighting: (
                    sighting.place == (DEPLOYMENT, self.namespace, SERVER)
                    and bool((sighting.obj.get("status") or {}).get("availableReplicas"))
                ),
                f"server {self.namespace}/{SERVER} has a pod",
                since=0,
                patience=SECONDS_TO_BEGIN,
            )
        deployment = await self.kube.get(DEPLOYMENT, self.namespace, SERVER)
        service = await self.kube.get(SERVICE, self.namespace, SERVER)
        if deployment is None or service is None:
            raise LookupError(f"Server {self.namespace}/{SERVER} is gone.")
        image = str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
        for number in range(HANGING_PODS):
            await self.kube.create(_hanging_pod(service, image, number))

    async def _merge(self, name: str, spec: KubeObject) -> None:
        """Apply a part of a specification; what is refused is left out.

        Under the operator's own field manager, as a hostile team may: nothing may be lost by that.
        """
        path: KubeObject = {
            "apiVersion": TRACKING_SERVER.api_version,
            "kind": TRACKING_SERVER.kind,
            "metadata": {"namespace": self.namespace, "name": name},
            "spec": spec,
        }
        with contextlib.suppress(ApiError):
            await self.kube.apply(path)


def _seize(postgres: ClusterPostgres, database: str, role: str, statements: Sequence[str]) -> ExitStack:
    """Execute the statements as the tenant, in a session that ends with the stack."""
    with ExitStack() as stack:
        session = stack.enter_context(postgres.connect(database=database))
        with session.cursor() as cursor:
            cursor.execute(SQL("SET ROLE {}").format(Identifier(role)))
            for statement in statements:
                cursor.execute(statement)
        return stack.pop_all()


def _hanging_pod(service: KubeObject, image: str, number: int) -> KubeObject:
    metadata = {
        "namespace": service["metadata"]["namespace"],
        "name": f"{name_of(service)}-hangs-{number}",
        "labels": dict(service["spec"]["selector"]),
    }
    container = {
        "name": "server",
        "image": image,
        "command": ["python", "-c", HANG],
        "ports": [{"name": "http", "containerPort": 5000}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def _slow_readers(cluster: DevelopmentCluster, pod: str) -> ExitStack:
    """Connections that ask and do not read, or say nothing; they end with the stack that is returned."""
    with ExitStack() as stack:
        for port in PORTS:
            local = stack.enter_context(
                cluster.port_forward(f"pod/{pod}", port, "--namespace", "tracking-operator-system")
            )
            for number in range(SLOW_READERS):
                with contextlib.suppress(OSError):
                    connection = stack.enter_context(socket.create_connection(("127.0.0.1", local), 5))
                    connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n" if number % 2 else b"GET ")
        return stack.pop_all()


if __name__ == "__main__":
    main()
