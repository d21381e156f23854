"""A Traefik that runs in the cluster, as whoever develops meets it."""

from dataclasses import dataclass, field

from dev.development_cluster import DevelopmentCluster
from dev.ingress.manifests import CLASS_NAME, HTTP_PORT, NAME
from tracking_operator.kube.objects import KubeObject


@dataclass(frozen=True)
class ClusterIngress:
    """A running Ingress controller, at port 80 and, for TLS, 443 of its Service.

    Attributes:
        namespace: its own.
        node_address: what Ingresses get into their status.
    """

    cluster: DevelopmentCluster = field(repr=False)
    namespace: str
    node_address: str

    @property
    def class_name(self) -> str:
        """Of its IngressClass, and of its GatewayClass."""
        return CLASS_NAME

    @property
    def url(self) -> str:
        """What pods and this machine reach it by, unless the node is in a virtual machine of its own (Docker Desktop)."""
        return f"http://{self.node_address}:{HTTP_PORT}"

    @property
    def service_url(self) -> str:
        """What pods reach it by."""
        return f"http://{NAME}.{self.namespace}.svc"

    @property
    def gateway(self) -> KubeObject:
        """The `parentRef` of a route to its Gateway."""
        return {"name": NAME, "namespace": self.namespace, "sectionName": "web"}

    @property
    def peer(self) -> KubeObject:
        """Its pods, as a NetworkPolicyPeer: what a class says in `access.networkPolicy.ingressFrom`."""
        return {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
        }

    def log(self) -> str:
        """What it has said of late."""
        return self.cluster.kubectl("logs", "--namespace", self.namespace, f"deployment/{NAME}", "--tail=200")
