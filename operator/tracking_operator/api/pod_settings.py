"""What class and server say of the pods beside the podTemplate: what Jobs may use, how pods give way to new ones."""

from enum import StrEnum

from tracking_operator.api.base import ApiModel, with_rules
from tracking_operator.api.kubernetes_types import ResourceRequirements, enough_memory_for_mlflow


class JobSettings(ApiModel):
    """The Jobs of a server: they migrate its database, try its prefix in the bucket out, and empty that at the end."""

    model_config = with_rules(enough_memory_for_mlflow("resources"))

    resources: ResourceRequirements | None = None
    """CPU and memory of the container of each Job. Default: the class's jobs.resources, else what the server's own container
    has."""


class Metrics(ApiModel):
    """What is told to Prometheus."""

    enabled: bool | None = None
    """Whether each pod counts requests, and tells it on port 5001 (named metrics) to whom the class lets in
    (access.networkPolicy.metricsFrom). The pods have the label tracking-operator.dev/metrics: "true". Default: the class's
    defaults.metrics, else false."""


class RolloutStrategy(StrEnum):
    """What comes first when a pod is replaced."""

    SURGE = "Surge"
    STOP_FIRST = "StopFirst"


class Rollout(ApiModel):
    """How the pods of a server give way to new ones."""

    strategy: RolloutStrategy | None = None
    """Surge starts a new pod before an old one ends, and needs room for one more. StopFirst ends one first: with one replica
    nobody is answered meanwhile. A server on SQLite or on a volume that one node mounts is always stopped first. Default: the
    class's, else Surge."""


class UserIds(StrEnum):
    """Who sets the user and the groups that the processes of a pod have."""

    OPERATOR = "Operator"
    PLATFORM = "Platform"


class PodSecurity(ApiModel):
    """As whom pods run."""

    user_ids: UserIds = UserIds.OPERATOR
    """Operator sets runAsUser, runAsGroup and fsGroup to 10001. Platform leaves them out of the pods of servers and Jobs, for
    clusters that give each namespace a range of its own, as OpenShift does; without such a cluster the image's own user
    counts. Default: Operator."""
