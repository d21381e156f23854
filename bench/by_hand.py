"""The same MLflow, started by hand as its documentation says: what a server of the operator's is compared with."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

from bench.servers import NAME as SERVER
from bench.stage import Stage
from dev.database.postgres import ClusterPostgres
from tracking_operator.kube.objects import DEPLOYMENT, KubeObject

NAME: Final = "by-hand"
PORT: Final = 5000
SECONDS_TO_START: Final = 180


@dataclass(frozen=True)
class ServerByHand:
    """A Deployment and a Service with nothing around them: no login, no Ingress, no prefix."""

    stage: Stage
    namespace: str

    @property
    def url(self) -> str:
        """Inside the cluster."""
        return f"http://{NAME}.{self.namespace}.svc:{PORT}"

    @classmethod
    async def start(cls, stage: Stage, namespace: str, postgres: ClusterPostgres) -> "ServerByHand":
        """Start it beside a Ready server, with the image and resources of that one and a database on the same PostgreSQL."""
        deployment = await stage.kube.get(DEPLOYMENT, namespace, SERVER)
        if deployment is None:
            raise ValueError(f"There is no server in namespace {namespace}.")
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        uri = await asyncio.to_thread(_make_database, postgres, f"by_hand_{stage.run}")
        for manifest in _manifests(namespace, container, uri):
            await stage.kube.create(manifest)
        server = cls(stage, namespace)
        await server.scale(1)
        return server

    async def scale(self, replicas: int) -> None:
        """Return when so many pods serve."""
        words = ("--namespace", self.namespace)
        scale = ("scale", f"deployment/{NAME}", f"--replicas={replicas}", *words)
        status = ("rollout", "status", f"deployment/{NAME}", f"--timeout={SECONDS_TO_START}s", *words)
        for command in (scale, status):
            await asyncio.to_thread(self.stage.cluster.kubectl, *command)


def _make_database(postgres: ClusterPostgres, name: str) -> str:
    password = secrets.token_hex(16)
    postgres.query(f"CREATE ROLE {name} LOGIN PASSWORD %s", password)
    postgres.query(f"CREATE DATABASE {name} OWNER {name}")
    return f"postgresql+psycopg2://{name}:{password}@{postgres.host}:{postgres.port}/{name}?sslmode=require"


def _manifests(namespace: str, like: KubeObject, uri: str) -> list[KubeObject]:
    metadata = {"name": NAME, "namespace": namespace}
    labels = {"app": NAME}
    container = {
        "name": "mlflow",
        "image": like["image"],
        "command": [
            "mlflow",
            "server",
            "--host=0.0.0.0",
            f"--port={PORT}",
            "--workers=1",
            "--allowed-hosts=*",
        ],
        "args": [f"--backend-store-uri={uri}", "--artifacts-destination=/tmp/artifacts"],
        "env": [
            {"name": "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "value": "false"},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 - of the pod
        ],
        "ports": [{"containerPort": PORT}],
        "resources": like["resources"],
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                # One first: two at once would both begin to make the tables.
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
    ]
