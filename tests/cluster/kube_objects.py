"""Objects of every kind that an operator like ours writes, in one namespace; and a client that counts its calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.kube.apply import AppliedSet, Ownership, apply_all
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import Call, KubeClient
from tracking_operator.kube.objects import Kind, KubeObject, name_of

OWNER = "kube-test"


def ours(live: KubeObject) -> Ownership:
    """Everything is ours."""
    return Ownership.OURS


@dataclass
class Desk:
    """A client, its cache, and what it has called."""

    client: KubeClient
    namespace: str
    cache: ObjectCache
    calls: list[Call] = field(default_factory=list)

    async def apply(self, *desired: KubeObject) -> AppliedSet:
        """Bring the objects about; all of them are ours."""
        return await apply_all(self.client, self.cache, desired, owner=ours)

    async def live(self, kind: Kind, name: str) -> KubeObject:
        """Return what the server has, managedFields included."""
        found = await self.client.get(kind, self.namespace, name)
        assert found is not None
        return found

    async def somebody_patches(self, kind: Kind, name: str, *operations: KubeObject) -> None:
        """Change an object by JSON patch as another client; the cache learns of it as from a watch."""
        path = kind.path(self.namespace, name)
        await self.client._request(
            "patch",
            kind,
            path,
            query={"fieldManager": "somebody"},
            body=list(operations),
            content_type="application/json-patch+json",
        )
        self.cache.upsert(await self.live(kind, name))
        self.calls.clear()

    def verbs(self) -> list[str]:
        """Return what was called since the last time, and forget it."""
        verbs = [call.verb for call in self.calls]
        self.calls.clear()
        return verbs


@asynccontextmanager
async def a_desk(kubeconfig: Path, namespace: str) -> AsyncIterator[Desk]:
    """Connect for the time of the block."""
    calls: list[Call] = []
    async with await KubeClient.connect(kubeconfig, observer=calls.append) as client:
        yield Desk(client, namespace, ObjectCache(owner_label=SERVER_LABEL), calls)


def metadata(namespace: str, name: str) -> KubeObject:
    """Return the metadata of an owned object."""
    return {"name": name, "namespace": namespace, "labels": {SERVER_LABEL: OWNER}}


def service(namespace: str) -> KubeObject:
    """Return a Service with one named port."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(namespace, "web"),
        "spec": {
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def config_map(namespace: str, name: str = "settings", **data: str) -> KubeObject:
    """Return a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(namespace, name),
        "data": data or {"mode": "quiet"},
    }


def pod_spec() -> KubeObject:
    """Return the template of pods that ask for much and are never scheduled."""
    return {
        "serviceAccountName": "web",
        "enableServiceLinks": False,
        "hostNetwork": False,
        "nodeSelector": {"example.com/no-such-node": "true"},
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
        "tolerations": [],
        "affinity": {},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ],
        "initContainers": [
            {"name": "check", "image": "registry.invalid/web:1", "command": ["true"], "resources": {}}
        ],
        "containers": [
            {
                "name": "web",
                "image": "registry.invalid/web:1",
                "args": ["--port", "5000"],
                "ports": [{"name": "http", "containerPort": 5000}],
                "env": [
                    {"name": "EMPTY", "value": ""},
                    {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "resources": {
                    "requests": {"cpu": "0.25", "memory": "1024Mi"},
                    "limits": {"memory": "1Gi"},
                },
                "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 5},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "settings", "mountPath": "/settings", "readOnly": True},
                ],
                "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
            }
        ],
        "volumes": [
            {"name": "data", "emptyDir": {"sizeLimit": "1024Mi"}},
            {"name": "settings", "configMap": {"name": "settings", "items": [{"key": "mode", "path": "m"}]}},
        ],
    }


def deployment(namespace: str) -> KubeObject:
    """Return a Deployment whose pods stay unscheduled."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(namespace, "web"),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod_spec()},
        },
    }


def one_of_each_kind(namespace: str) -> list[KubeObject]:
    """Return objects of all kinds, with defaults, falsy wishes, and quantities in unusual words."""
    return [
        service(namespace),
        config_map(namespace),
        deployment(namespace),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(namespace, "web")}
        | {"automountServiceAccountToken": False},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(namespace, "keys")}
        | {"type": "Opaque", "data": {"password": "c2VjcmV0"}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata(namespace, "data"),
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata(namespace, "web"),
            "spec": {
                "podSelector": {"matchLabels": {"app": "web"}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 5000}]}],
                "egress": [],
            },
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata(namespace, "web"),
            "spec": {
                "rules": [
                    {
                        "host": "web.example.com",
                        "http": {
                            "paths": [
                                {
                                    "path": "/",
                                    "pathType": "Prefix",
                                    "backend": {"service": {"name": "web", "port": {"name": "http"}}},
                                }
                            ]
                        },
                    }
                ]
            },
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata(namespace, "migrate"),
            "spec": {
                "backoffLimit": 0,
                "suspend": True,
                "template": {"spec": pod_spec() | {"restartPolicy": "Never"}},
            },
        },
    ]


def names(objects: list[KubeObject]) -> set[str]:
    """Return the names of objects."""
    return {name_of(obj) for obj in objects}
