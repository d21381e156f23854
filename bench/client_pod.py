"""A pod of a team's, in which Python is run beside its server: with MLflow's client, and with the keys of the server."""

import asyncio
import json
from dataclasses import dataclass
from typing import Final

from bench.servers import NAME as SERVER
from bench.stage import Stage
from tracking_operator.kube.objects import DEPLOYMENT, KubeObject
from tracking_operator.resources.stores.certificates import CA_KEY
from tracking_operator.resources.stores.paths import ARTIFACT_STORE_CREDENTIALS
from tracking_operator.resources.stores.s3 import CREDENTIALS_KEY

NAME: Final = "bench-client"
USER: Final = 10001
SECONDS_TO_START: Final = 120


@dataclass(frozen=True)
class ClientPod:
    """A pod that waits for something to do."""

    stage: Stage
    namespace: str

    @classmethod
    async def start(cls, stage: Stage, namespace: str, endpoint: str) -> "ClientPod":
        """Start it in the namespace of a Ready server whose prefix is in the store at ``endpoint``."""
        deployment = await stage.kube.get(DEPLOYMENT, namespace, SERVER)
        if deployment is None:
            raise ValueError(f"There is no server in namespace {namespace}.")
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        await stage.kube.create(_pod(namespace, str(image), endpoint))
        pod = cls(stage, namespace)
        await pod._kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", f"--timeout={SECONDS_TO_START}s")
        return pod

    async def run(self, script: str, settings: object) -> dict[str, list[float]]:
        """Run a script that reads ``settings`` as JSON from its input; what it printed last, as JSON."""
        words = ("exec", "--stdin", NAME, "--", "python", "-c", script)
        printed = await self._kubectl(*words, stdin=json.dumps(settings))
        return dict(json.loads(printed.splitlines()[-1]))

    async def stop(self) -> None:
        """Remove it."""
        await self._kubectl("delete", "pod", NAME, "--wait=false")

    async def _kubectl(self, *words: str, stdin: str | None = None) -> str:
        return await asyncio.to_thread(
            self.stage.cluster.kubectl, "--namespace", self.namespace, *words, stdin=stdin
        )


def _pod(namespace: str, image: str, endpoint: str) -> KubeObject:
    variables = {
        "HOME": "/tmp",  # noqa: S108 - of the pod
        "GIT_PYTHON_REFRESH": "quiet",
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_SHARED_CREDENTIALS_FILE": f"{ARTIFACT_STORE_CREDENTIALS}/{CREDENTIALS_KEY}",
        "AWS_CA_BUNDLE": f"{ARTIFACT_STORE_CREDENTIALS}/{CA_KEY}",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    container = {
        "name": "client",
        "image": image,
        "command": ["sleep", "infinity"],
        "envFrom": [{"configMapRef": {"name": f"{SERVER}-client"}}],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "keys", "mountPath": ARTIFACT_STORE_CREDENTIALS, "readOnly": True}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "keys", "secret": {"secretName": f"{SERVER}-artifacts"}}],
        },
    }
