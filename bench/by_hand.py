"""The same MLflow, started by hand as its documentation says, with its login or without: what the operator's servers are compared with."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

from bench.servers import NAME as SERVER
from bench.stage import Stage
from dev.database.postgres import ClusterPostgres
from tracking_operator.kube.objects import DEPLOYMENT, KubeObject
from tracking_operator.pod_tools.start_server import SECONDS_A_LOGIN_IS_REMEMBERED

PORT: Final = 5000
SECONDS_TO_START: Final = 180
ADMIN: Final = "admin"
LOGIN_FOLDER: Final = "/etc/login"
LOGIN_FILE: Final = "login.ini"


@dataclass(frozen=True)
class ServerByHand:
    """A Deployment and a Service with nothing around them: no Ingress, no prefix, no NetworkPolicy of their own.

    Attributes:
        password: of MLflow's admin; empty without a login.
    """

    stage: Stage
    namespace: str
    name: str
    password: str = ""

    @property
    def url(self) -> str:
        """Inside the cluster."""
        return f"http://{self.name}.{self.namespace}.svc:{PORT}"

    @property
    def admin(self) -> tuple[str, str] | None:
        """Who may make users; nobody without a login."""
        return (ADMIN, self.password) if self.password else None

    @classmethod
    async def start(
        cls, stage: Stage, namespace: str, postgres: ClusterPostgres, *, has_login: bool
    ) -> "ServerByHand":
        """Start it beside a Ready server, with the image and resources of that one and a database on the same PostgreSQL."""
        deployment = await stage.kube.get(DEPLOYMENT, namespace, SERVER)
        if deployment is None:
            raise ValueError(f"There is no server in namespace {namespace}.")
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        name = "by-hand-login" if has_login else "by-hand"
        server = cls(stage, namespace, name, secrets.token_hex(16) if has_login else "")
        uri = await asyncio.to_thread(_make_database, postgres, f"{name.replace('-', '_')}_{stage.run}")
        for manifest in server._manifests(container, uri):
            await stage.kube.create(manifest)
        await server.scale(1)
        return server

    async def scale(self, replicas: int) -> None:
        """Return when so many pods serve."""
        words = ("--namespace", self.namespace)
        scale = ("scale", f"deployment/{self.name}", f"--replicas={replicas}", *words)
        status = ("rollout", "status", f"deployment/{self.name}", f"--timeout={SECONDS_TO_START}s", *words)
        for command in (scale, status):
            await asyncio.to_thread(self.stage.cluster.kubectl, *command)

    def _manifests(self, like: KubeObject, uri: str) -> list[KubeObject]:
        metadata = {"name": self.name, "namespace": self.namespace}
        labels = {"app": self.name}
        pod: KubeObject = {"containers": [self._container(like, uri)]}
        if self.password:
            pod["volumes"] = [{"name": "login", "secret": {"secretName": self.name}}]
        return [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "stringData": {LOGIN_FILE: self._login_file(uri)},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    # One first: two at once would both begin to make the tables.
                    "replicas": 1,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"selector": labels, "ports": [{"port": PORT}]},
            },
        ]

    def _container(self, like: KubeObject, uri: str) -> KubeObject:
        command = ["mlflow", "server", "--host=0.0.0.0", f"--port={PORT}", "--workers=1", "--allowed-hosts=*"]
        variables = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "HOME": "/tmp",  # noqa: S108 - of the pod
        }
        if self.password:
            command.append("--app-name=basic-auth")
            variables |= {
                "MLFLOW_AUTH_CONFIG_PATH": f"{LOGIN_FOLDER}/{LOGIN_FILE}",
                "MLFLOW_FLASK_SERVER_SECRET_KEY": self.password,
            }
        return {
            "name": "mlflow",
            "image": like["image"],
            "command": command,
            "args": [f"--backend-store-uri={uri}", "--artifacts-destination=/tmp/artifacts"],
            "env": [{"name": name, "value": value} for name, value in variables.items()],
            "ports": [{"containerPort": PORT}],
            "resources": like["resources"],
            "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
            "volumeMounts": [{"name": "login", "mountPath": LOGIN_FOLDER}] if self.password else [],
        }

    def _login_file(self, uri: str) -> str:
        settings = {
            "default_permission": "READ",
            "database_uri": uri,
            "admin_username": ADMIN,
            "admin_password": self.password,
            "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
            "auth_cache_ttl_seconds": str(SECONDS_A_LOGIN_IS_REMEMBERED),
        }
        return "\n".join(["[mlflow]", *(f"{key} = {value}" for key, value in settings.items())])


def _make_database(postgres: ClusterPostgres, name: str) -> str:
    password = secrets.token_hex(16)
    postgres.query(f"CREATE ROLE {name} LOGIN PASSWORD %s", password)
    postgres.query(f"CREATE DATABASE {name} OWNER {name}")
    return f"postgresql+psycopg2://{name}:{password}@{postgres.host}:{postgres.port}/{name}?sslmode=require"
