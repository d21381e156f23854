"""Kubernetes objects as plain dicts, and the kinds that the operator reads or writes."""

from dataclasses import dataclass
from typing import Any, Final

KubeObject = dict[str, Any]
"""A Kubernetes object as it travels over the wire: nested dicts, lists, strings, numbers and booleans."""

KubeObjects = list[KubeObject]


@dataclass(frozen=True)
class Kind:
    """One resource type of the Kubernetes API: enough to build the URL of its objects."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; the core group is the empty string."""
        group, slash, _ = self.api_version.rpartition("/")
        return group if slash else ""

    @property
    def version(self) -> str:
        """The API version without its group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of one object, or of the collection when there is no ``name``.

        Without a ``namespace`` the collection of a namespaced kind spans all namespaces.
        """
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        object_ = f"/{name}" if name else ""
        detail = f"/{subresource}" if subresource else ""
        return f"{root}{place}/{self.plural}{object_}{detail}"

    def __str__(self) -> str:
        return self.kind


NAMESPACE: Final = Kind("v1", "Namespace", "namespaces", namespaced=False)
POD: Final = Kind("v1", "Pod", "pods")
SERVICE: Final = Kind("v1", "Service", "services")
SERVICE_ACCOUNT: Final = Kind("v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
SECRET: Final = Kind("v1", "Secret", "secrets")
PERSISTENT_VOLUME_CLAIM: Final = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET: Final = Kind("apps/v1", "ReplicaSet", "replicasets")
JOB: Final = Kind("batch/v1", "Job", "jobs")
INGRESS: Final = Kind("networking.k8s.io/v1", "Ingress", "ingresses")
INGRESS_CLASS: Final = Kind("networking.k8s.io/v1", "IngressClass", "ingressclasses", namespaced=False)
GATEWAY: Final = Kind("gateway.networking.k8s.io/v1", "Gateway", "gateways")
HTTP_ROUTE: Final = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
NETWORK_POLICY: Final = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
POD_DISRUPTION_BUDGET: Final = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
STORAGE_CLASS: Final = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
EVENT: Final = Kind("v1", "Event", "events")

_kinds: dict[tuple[str, str], Kind] = {}


def register(kind: Kind) -> Kind:
    """Make ``kind_of`` know a kind (a custom resource's, say) and return it."""
    _kinds[(kind.api_version, kind.kind)] = kind
    return kind


for _kind in (
    NAMESPACE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    SECRET,
    PERSISTENT_VOLUME_CLAIM,
    DEPLOYMENT,
    REPLICA_SET,
    JOB,
    INGRESS,
    INGRESS_CLASS,
    GATEWAY,
    HTTP_ROUTE,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    STORAGE_CLASS,
    LEASE,
    EVENT,
):
    register(_kind)


def kind_of(obj: KubeObject) -> Kind:
    """Return the kind of an object by its ``apiVersion`` and ``kind``.

    Raises ``KeyError`` for a kind that nobody registered: a mistake in the program, not in the object.
    """
    return _kinds[(obj["apiVersion"], obj["kind"])]


def name_of(obj: KubeObject) -> str:
    """Return ``metadata.name``."""
    return str(obj["metadata"]["name"])


def namespace_of(obj: KubeObject) -> str | None:
    """Return ``metadata.namespace``; None for an object outside namespaces."""
    namespace: str | None = obj["metadata"].get("namespace")
    return namespace


def uid_of(obj: KubeObject) -> str | None:
    """Return ``metadata.uid``; None for an object that the server has not seen yet."""
    uid: str | None = obj["metadata"].get("uid")
    return uid


def resource_version_of(obj: KubeObject) -> int:
    """Return ``metadata.resourceVersion`` as a number that grows with every change; 0 when there is none.

    Comparing them is sanctioned since Kubernetes 1.35 (KEP-5504) and was true of etcd's before.
    """
    return int(obj["metadata"].get("resourceVersion") or 0)


def describe(obj: KubeObject) -> str:
    """Return how a sentence calls the object: ``Service team-a/mlflow``."""
    namespace = namespace_of(obj)
    return f"{obj['kind']} {namespace}/{name_of(obj)}" if namespace else f"{obj['kind']} {name_of(obj)}"
