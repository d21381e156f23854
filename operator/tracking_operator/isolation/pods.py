"""The attacker's pods: like a pod of the team's own server, with its Secrets, but with another program in it.

A tenant can start such a pod, and its Secrets hold everything that the operator has written for it.
"""

import asyncio
import json
import time
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Final

from tracking_operator.isolation.attempts import Seen, Verdict
from tracking_operator.isolation.in_pod.scene import Scene
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, POD, KubeObject
from tracking_operator.resources.labels import SERVER_COMPONENT, pod_selector
from tracking_operator.resources.pod.server_pod import SERVER_CONTAINER

PROGRAM: Final = "/opt/attacker"
SECRETS: Final = "/etc/attacker"
MODULE: Final = "tracking_operator.isolation.in_pod"
CARRIED: Final = (
    "__init__.py",
    "isolation/__init__.py",
    "isolation/attempts.py",
    *(
        f"isolation/in_pod/{name}.py"
        for name in (
            "__init__",
            "__main__",
            "buckets",
            "databases",
            "hostile_database",
            "like_the_server",
            "login",
            "network",
            "scene",
        )
    ),
)
"""The files of this package that a pod gets: those that know nothing but Python, psycopg2 and boto3."""
SECONDS_TO_START: Final = 120.0
SECONDS_TO_END: Final = 300.0
READY: Final = "ready"


class PodError(Exception):
    """A pod did not do what it was started for; the text says what it printed instead."""


@dataclass(frozen=True)
class Template:
    """What an attacker takes over from a pod of its server."""

    image: str
    variables: list[KubeObject]
    volumes: list[KubeObject]
    mounts: list[KubeObject]

    @classmethod
    def of(cls, deployment: KubeObject) -> "Template":
        """Read a server's Deployment: image, variables, and the volumes that are Secrets."""
        spec = deployment["spec"]["template"]["spec"]
        container = next(one for one in spec["containers"] if one["name"] == SERVER_CONTAINER)
        volumes = [one for one in spec["volumes"] if "secret" in one or "projected" in one]
        names = {volume["name"] for volume in volumes}
        mounts = [one for one in container["volumeMounts"] if one["name"] in names]
        return cls(container["image"], container.get("env", []), volumes, mounts)


@dataclass(frozen=True)
class Attacker:
    """Somebody who starts pods in a namespace, with what the server there has.

    Attributes:
        client: with the rights of whoever starts them.
        scene: what its pods know.
        template: of a server's pod; its Secrets are those of the namespace.
        kept: a Secret with credentials of a server that is gone, which take the place of the present ones.
    """

    client: KubeClient
    scene: Scene
    template: Template
    kept: str = ""

    @property
    def namespace(self) -> str:
        """Where the pods run."""
        return self.scene.own.namespace

    async def run(self, mode: str, *arguments: str, labels: dict[str, str] | None = None) -> dict[str, Seen]:
        """Run the program to its end; return what it has seen, by attempt.

        Raises:
            PodError: it did not end in time, or printed something else.
        """
        name = await self.start(mode, *arguments, labels=labels)
        try:
            return await self.ended(name)
        finally:
            await self.stop(name)

    async def start(self, mode: str, *arguments: str, labels: dict[str, str] | None = None) -> str:
        """Start the program; return the pod's name."""
        name = f"{self.scene.mark}-{mode}"
        await self._bring_program(name)
        await self.client.delete(POD, self.namespace, name)
        await self.client.create(self._pod(name, [mode, f"{PROGRAM}/world.json", *arguments], labels or {}))
        return name

    async def started(self, mode: str, *arguments: str) -> str:
        """Start the program and wait until it says that it is ready."""
        name = await self.start(mode, *arguments)
        deadline = time.monotonic() + SECONDS_TO_START
        while READY not in (printed := await self._printed(name)):
            phase = await self._phase(name)
            if phase in ("Failed", "Succeeded") or time.monotonic() > deadline:
                raise PodError(f"Pod {self.namespace}/{name} is not ready ({phase}): {printed[-500:]}")
            await asyncio.sleep(0.3)
        return name

    async def ended(self, name: str) -> dict[str, Seen]:
        """Wait for a pod's end; return what it has seen."""
        deadline = time.monotonic() + SECONDS_TO_END
        while (phase := await self._phase(name)) not in ("Succeeded", "Failed"):
            if time.monotonic() > deadline:
                raise PodError(
                    f"Pod {self.namespace}/{name} has not ended ({phase}): {await self._printed(name)}"
                )
            await asyncio.sleep(0.3)
        printed = await self._printed(name)
        if phase == "Failed":
            raise PodError(f"Pod {self.namespace}/{name} has failed: {printed[-1000:]}")
        return seen_in(printed)

    async def stop(self, name: str) -> None:
        """Remove a pod and what brought its program."""
        await self.client.delete(POD, self.namespace, name)
        await self.client.delete(CONFIG_MAP, self.namespace, name)

    async def _phase(self, name: str) -> str:
        pod = await self.client.get(POD, self.namespace, name)
        return str((pod or {}).get("status", {}).get("phase", ""))

    async def _printed(self, name: str) -> str:
        try:
            return await self.client.pod_log(self.namespace, name)
        except ApiError:  # nothing is printed before the container runs
            return ""

    async def _bring_program(self, name: str) -> None:
        await self.client.delete(CONFIG_MAP, self.namespace, name)
        await self.client.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": self.namespace},
                "data": {key_of(path): source_of(path) for path in CARRIED}
                | {"world.json": json.dumps(asdict(self.scene))},
            }
        )

    def _pod(self, name: str, arguments: list[str], labels: dict[str, str]) -> KubeObject:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 5,
                "activeDeadlineSeconds": 900,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 10001,
                    "runAsGroup": 10001,
                    "fsGroup": 10001,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [self._container(arguments)],
                "volumes": [*self._volumes(), *self._volumes_of_program(name)],
            },
        }

    def _container(self, arguments: list[str]) -> KubeObject:
        own = {"PYTHONPATH": PROGRAM, "ISOLATION_SECRETS": SECRETS, "PYTHONUNBUFFERED": "1"}
        inherited = [one for one in self.template.variables if one["name"] not in own]
        return {
            "name": "attacker",
            "image": self.template.image,
            "command": ["python", "-m", MODULE, *arguments],
            "env": inherited + [{"name": key, "value": value} for key, value in own.items()],
            # Never ready: a pod with the labels of a server's must not get its requests.
            "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 60},
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                *(
                    one
                    for one in self.template.mounts
                    if one["name"] in {each["name"] for each in self._volumes()}
                ),
                {"name": "attacker-auth", "mountPath": f"{SECRETS}/auth", "readOnly": True},
                {"name": "attacker-program", "mountPath": PROGRAM, "readOnly": True},
                {"name": "attacker-scratch", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
            ],
        }

    def _volumes(self) -> list[KubeObject]:
        if not self.kept:
            return self.template.volumes
        return [
            {"name": one["name"], "secret": {"secretName": f"{self.kept}-{secret}", "optional": True}}
            for one in self.template.volumes
            if (secret := one.get("secret", {}).get("secretName"))
        ]

    def _volumes_of_program(self, name: str) -> list[KubeObject]:
        items = [{"key": key_of(path), "path": f"tracking_operator/{path}"} for path in CARRIED]
        world = {"key": "world.json", "path": "world.json"}
        auth = {"secretName": f"{self.scene.own.server}-auth", "optional": True}
        return [
            {"name": "attacker-auth", "secret": auth},
            {"name": "attacker-program", "configMap": {"name": name, "items": [*items, world]}},
            {"name": "attacker-scratch", "emptyDir": {}},
        ]


def labels_of_a_server(server: str) -> dict[str, str]:
    """What a NetworkPolicy knows a server's pod by."""
    return pod_selector(server) | {"app.kubernetes.io/component": SERVER_COMPONENT}


def seen_in(printed: str) -> dict[str, Seen]:
    """Read the lines that the program has printed; others are left out."""
    found = {}
    for line in printed.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            found[str(said["id"])] = Seen.of(Verdict(said["verdict"]), said["words"])
    return found


def key_of(path: str) -> str:
    """How a ConfigMap calls a file."""
    return path.replace("/", ".")


def source_of(path: str) -> str:
    """A file of this package."""
    return files("tracking_operator").joinpath(path).read_text(encoding="utf-8")


async def template_of(client: KubeClient, namespace: str, server: str) -> Template:
    """The template of a server's pods. Raises PodError: it has no Deployment."""
    deployment = await client.get(DEPLOYMENT, namespace, server)
    if deployment is None:
        raise PodError(f"TrackingServer {namespace}/{server} has no Deployment")
    return Template.of(deployment)
