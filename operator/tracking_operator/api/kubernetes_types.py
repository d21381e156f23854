"""Kubernetes' own types as far as our resources contain them, typed so that a typing error is noticed at once."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from tracking_operator.api.base import (
    ATOMIC,
    ApiModel,
    KeyName,
    ObjectName,
    Quantity,
    Rule,
    Text,
    UncheckedQuantity,
    rules,
    with_rules,
)

_QUALIFIED_NAME: Final = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
_KEYS_ARE_QUALIFIED_NAMES: Final = rules(
    Rule(
        f"self.all(key, key.size() <= 317 && key.matches('{_QUALIFIED_NAME}'))",
        "keys must be letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, and may have a "
        "prefix such as example.com/",
    )
)

LabelKey = Annotated[str, Field(min_length=1, max_length=317, json_schema_extra={"pattern": _QUALIFIED_NAME})]
"""A pattern, because there may be so many of them that a rule for each costs the API server too much."""
TopologyKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{_QUALIFIED_NAME}')",
                "must be the key of a node's label, such as kubernetes.io/hostname: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, "
                "with a prefix such as example.com/ or without",
            )
        ),
    ),
]
LabelValue = Annotated[
    str,
    Field(
        max_length=63,
        json_schema_extra=rules(
            Rule(
                "self.matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$')",
                "must be empty or letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            )
        ),
    ),
]
AnnotationValue = Annotated[str, Field(max_length=8192)]
SelectorValue = Annotated[str, Field(max_length=63)]
SelectorValues = Annotated[tuple[SelectorValue, ...], Field(max_length=64, json_schema_extra=ATOMIC)]
SelectorKeys = Annotated[tuple[LabelKey, ...], Field(max_length=32, json_schema_extra=ATOMIC)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=64, json_schema_extra=_KEYS_ARE_QUALIFIED_NAMES)]
Annotations = Annotated[
    dict[str, AnnotationValue], Field(max_length=64, json_schema_extra=_KEYS_ARE_QUALIFIED_NAMES)
]
ResourceList = Annotated[dict[str, Quantity], Field(max_length=8)]
"""Amounts by resource (cpu, memory, …). Eight are enough, and more would cost the API server too much to check."""


class OwnerReference(ApiModel):
    """Another object that this one belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class ObjectMeta(ApiModel):
    """What Kubernetes knows about every object. Empty strings: not created yet."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def is_being_deleted(self) -> bool:
        """Whether somebody has asked for the object to go."""
        return self.deletion_timestamp is not None


class LocalObjectReference(ApiModel):
    """The name of an object in the same namespace."""

    name: ObjectName
    """The name of the object."""


class SecretKeyReference(ApiModel):
    """A key of a Secret in the same namespace."""

    name: ObjectName
    """The name of the Secret."""
    key: KeyName
    """The key in the Secret."""


class OptionalKeySelector(ApiModel):
    """A key of a ConfigMap or Secret in the same namespace."""

    name: ObjectName
    """The name of the object."""
    key: KeyName
    """The key in it."""
    optional: bool | None = None
    """Whether the object or its key may be missing."""


class ObjectFieldSelector(ApiModel):
    """A field of the pod."""

    api_version: Annotated[str, Field(max_length=64)] | None = None
    """The version of the schema that the path is for. Default: v1."""
    field_path: Text
    """The path of the field, for example metadata.name."""


class ResourceFieldSelector(ApiModel):
    """A resource of the container, for example limits.memory."""

    container_name: Annotated[str, Field(max_length=63)] | None = None
    """The container. Default: the server."""
    resource: Annotated[str, Field(max_length=317)]
    """The resource, for example limits.memory."""
    divisor: UncheckedQuantity | None = None
    """The unit in which the value is given. Default: 1."""


class EnvVarSource(ApiModel):
    """Where the value of a variable comes from."""

    model_config = with_rules(
        Rule(
            "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef), "
            "has(self.resourceFieldRef)].filter(given, given).size() == 1",
            "valueFrom must have exactly one of secretKeyRef, configMapKeyRef, fieldRef and resourceFieldRef",
        )
    )

    secret_key_ref: OptionalKeySelector | None = None
    """A key of a Secret in the server's namespace."""
    config_map_key_ref: OptionalKeySelector | None = None
    """A key of a ConfigMap in the server's namespace."""
    field_ref: ObjectFieldSelector | None = None
    """A field of the pod, for example metadata.name."""
    resource_field_ref: ResourceFieldSelector | None = None
    """A resource of the container, for example limits.memory."""


class EnvFromSource(ApiModel):
    """All keys of a ConfigMap or a Secret as environment variables."""

    model_config = with_rules(
        Rule(
            "has(self.configMapRef) != has(self.secretRef)",
            "envFrom entries must have exactly one of configMapRef and secretRef",
        )
    )

    prefix: (
        Annotated[
            str,
            Field(
                max_length=256,
                json_schema_extra=rules(
                    Rule(
                        "self.matches('^([-._a-zA-Z][-._a-zA-Z0-9]*)?$')",
                        "must be how the name of a variable begins: letters, digits, '-', '_' and '.', with no digit in front",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """Put before each key."""
    config_map_ref: "OptionalReference | None" = None
    """A ConfigMap in the server's namespace."""
    secret_ref: "OptionalReference | None" = None
    """A Secret in the server's namespace."""


class OptionalReference(ApiModel):
    """The name of an object in the same namespace that may be missing."""

    name: ObjectName
    """The name of the object."""
    optional: bool | None = None
    """Whether the object may be missing."""


class ResourceRequirements(ApiModel):
    """How much of the node's resources a container gets."""

    model_config = with_rules(
        Rule(
            "!has(self.requests) || !has(self.limits) || ['cpu', 'memory'].all(resource, "
            "!(resource in self.requests) || !(resource in self.limits) "
            "|| !isQuantity(string(self.requests[resource])) || !isQuantity(string(self.limits[resource])) "
            "|| quantity(string(self.requests[resource])).compareTo(quantity(string(self.limits[resource]))) <= 0)",
            "resources.requests may not be more than resources.limits; lower the one or raise the other",
            ".requests",
        )
    )

    requests: ResourceList | None = None
    """What is reserved, for example {cpu: 250m, memory: 640Mi}."""
    limits: ResourceList | None = None
    """What is never exceeded, for example {memory: 1Gi}."""


LEAST_MEMORY: Final = "256Mi"
"""MLflow 3.17 with one worker process takes 420 MiB when it has started; with less than this it never comes so far."""


def enough_memory_for_mlflow(field: str) -> Rule:
    """Return the rule that a container which runs MLflow is not limited to less memory than its start takes."""
    resources = f"self.{field}"
    limit = f"{resources}.limits['memory']"
    return Rule(
        f"!has({resources}) || !has({resources}.limits) || !('memory' in {resources}.limits) "
        f"|| !isQuantity(string({limit})) || quantity(string({limit})).compareTo(quantity('{LEAST_MEMORY}')) >= 0",
        f"{field}.limits.memory may not be less than {LEAST_MEMORY}, because MLflow cannot start with that; one worker needs "
        "640Mi, each further one 256Mi more, and a number without a unit means bytes",
        f".{field}.limits",
    )


class LabelSelectorRequirement(ApiModel):
    """A condition on one label."""

    model_config = with_rules(
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
            "values must be given with operator In and NotIn, and may not be with Exists and DoesNotExist",
        )
    )

    key: LabelKey
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value is compared with the values."""
    values: SelectorValues = ()
    """The values; empty with Exists and DoesNotExist."""


class LabelSelector(ApiModel):
    """Which objects are meant, by their labels. Empty: all."""

    match_labels: Annotated[dict[str, SelectorValue], Field(max_length=32)] = {}
    """Labels that an object must have with these values."""
    match_expressions: Annotated[
        tuple[LabelSelectorRequirement, ...], Field(max_length=32, json_schema_extra=ATOMIC)
    ] = ()
    """Conditions that must all hold."""


class Toleration(ApiModel):
    """A node taint that the pods put up with."""

    key: LabelKey | None = None
    """The taint's key. Absent, with operator Exists: all taints."""
    operator: Literal["Exists", "Equal"] | None = None
    """Equal (the default) compares the value, Exists does not."""
    value: SelectorValue | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect. Absent: all."""
    toleration_seconds: Annotated[int, Field(json_schema_extra={"format": "int64"})] | None = None
    """With effect NoExecute: for how long the pod may stay, in seconds."""


class TopologySpreadConstraint(ApiModel):
    """How evenly the pods are spread over zones, nodes or other domains."""

    max_skew: Annotated[int, Field(ge=1, json_schema_extra={"format": "int32"})]
    """By how many pods the domains may differ."""
    topology_key: TopologyKey
    """The node label that tells the domains apart, for example topology.kubernetes.io/zone."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What happens to a pod that would exceed the skew."""
    label_selector: LabelSelector | None = None
    """Which pods are counted: for this server's own, its name as tracking-operator.dev/tracking-server in matchLabels.
    Default: none, so that the constraint has no effect."""
    min_domains: Annotated[int, Field(ge=1, json_schema_extra={"format": "int32"})] | None = None
    """How many domains there must be at least."""
    match_label_keys: SelectorKeys = ()
    """Labels of the pod whose values the counted pods must share."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes outside nodeAffinity and nodeSelector are left out (Honor, the default)."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether tainted nodes that are not tolerated are left out. Default: Ignore."""


class NodeSelectorRequirement(ApiModel):
    """A condition on one label or field of a node."""

    key: LabelKey
    """The label or field."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How its value is compared with the values."""
    values: SelectorValues = ()
    """The values; empty with Exists and DoesNotExist, one number with Gt and Lt."""


NodeSelectorRequirements = Annotated[
    tuple[NodeSelectorRequirement, ...], Field(max_length=32, json_schema_extra=ATOMIC)
]


class NodeSelectorTerm(ApiModel):
    """Conditions on a node that must all hold."""

    match_expressions: NodeSelectorRequirements = ()
    """Conditions on the node's labels."""
    match_fields: NodeSelectorRequirements = ()
    """Conditions on the node's fields."""


class NodeSelector(ApiModel):
    """Which nodes are meant: those for which one of the terms holds."""

    node_selector_terms: Annotated[
        tuple[NodeSelectorTerm, ...], Field(max_length=16, json_schema_extra=ATOMIC)
    ]
    """The terms, of which one must hold."""


Weight = Annotated[int, Field(ge=1, le=100, json_schema_extra={"format": "int32"})]


class PreferredSchedulingTerm(ApiModel):
    """A wish for nodes, with its weight."""

    weight: Weight
    """How much the wish counts, 1 to 100."""
    preference: NodeSelectorTerm
    """The nodes that are wished for."""


class NodeAffinity(ApiModel):
    """On which nodes the pods run."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Nodes that the pods must run on."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredSchedulingTerm, ...], Field(max_length=16, json_schema_extra=ATOMIC)
    ] = ()
    """Nodes that the pods should run on."""


class PodAffinityTerm(ApiModel):
    """Other pods, and the domain in which they count as near."""

    label_selector: LabelSelector | None = None
    """The labels of the other pods."""
    namespace_selector: LabelSelector | None = None
    """Namespaces of the other pods, by label."""
    namespaces: Annotated[tuple[SelectorValue, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Namespaces of the other pods, by name. Both absent: the server's own."""
    topology_key: TopologyKey
    """The node label whose value near pods share, for example kubernetes.io/hostname."""
    match_label_keys: SelectorKeys = ()
    """Labels of the pod whose values the other pods must share."""
    mismatch_label_keys: SelectorKeys = ()
    """Labels of the pod whose values the other pods must not share."""


class WeightedPodAffinityTerm(ApiModel):
    """A wish about other pods, with its weight."""

    weight: Weight
    """How much the wish counts, 1 to 100."""
    pod_affinity_term: PodAffinityTerm
    """The other pods."""


class PodAffinity(ApiModel):
    """Which other pods to run near to, or away from."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodAffinityTerm, ...], Field(max_length=16, json_schema_extra=ATOMIC)
    ] = ()
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[WeightedPodAffinityTerm, ...], Field(max_length=16, json_schema_extra=ATOMIC)
    ] = ()
    """What should hold."""


class Affinity(ApiModel):
    """Where the pods run, in relation to nodes and other pods."""

    node_affinity: NodeAffinity | None = None
    """Nodes to run on."""
    pod_affinity: PodAffinity | None = None
    """Pods to run near to."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods to keep away from."""
