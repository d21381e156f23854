"""The chart's values: their names, what they may be, and their defaults, which are those of manifests/base."""

import json
from collections.abc import Iterable
from textwrap import wrap
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, create_model

from dev.chart.markup import Object
from tracking_operator.api.base import ApiModel
from tracking_operator.api.crds import Schema, as_yaml, structural_schema
from tracking_operator.api.kubernetes_types import (
    Affinity,
    Annotations,
    Labels,
    LabelSelector,
    LocalObjectReference,
    ResourceRequirements,
    Toleration,
    TopologySpreadConstraint,
)
from tracking_operator.api.network_policy import NetworkPolicyEgressRule
from tracking_operator.api.pod_settings import UserIds
from tracking_operator.api.tracking_server_class import TrackingServerClassSpec
from tracking_operator.runtime.settings import OperatorSettings

ENVIRONMENT: Final = "TRACKING_OPERATOR_"
SET_BY_THE_CHART: Final = frozenset(
    {"namespace", "lease_name", "timings", "metrics_port", "health_port", "watch_namespaces", "service_proxy"}
)
"""Settings that other values decide, that the manifests fix, or that are for tests and for operators outside of a cluster."""
WIDTH: Final = 110

NamespaceName = Annotated[str, Field(max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
LabelName = Annotated[str, Field(pattern="^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
PlainLabelValue = Annotated[
    str, Field(max_length=63, pattern="^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]
ClassName = Annotated[str, Field(max_length=63, pattern="^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]


class Values(ApiModel):
    """A part of the chart's values: it knows all of its names."""

    model_config = ConfigDict(extra="forbid")


Settings: Final[type[Values]] = create_model(
    "Settings",
    __base__=Values,
    **{
        name: (field.annotation, field)
        for name, field in OperatorSettings.model_fields.items()
        if name not in SET_BY_THE_CHART
    },  # type: ignore[call-overload]
)
"""The operator's own settings, without those that the chart sets."""


class Image(Values):
    """The operator's image."""

    repository: Annotated[str, Field(min_length=1, pattern="^[a-z0-9][-a-zA-Z0-9._:/]*$")]
    """Where the operator's image is: the name in your registry, without a tag."""
    tag: Annotated[str, Field(max_length=128, pattern="^[a-zA-Z0-9_][-a-zA-Z0-9_.]*$")]
    """Its tag. Numbers in quotes."""
    digest: Annotated[str, Field(pattern="^(sha256:[0-9a-f]{64})?$")] = ""
    """Its digest, sha256:…, which then counts instead of the tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"]
    """When the kubelet pulls it."""


class Metrics(Values):
    """The operator's own metrics."""

    enabled: bool = True
    """Whether the operator serves metrics, on port 8080 and with a Service."""
    namespace_selector: LabelSelector
    """The namespaces whose pods may read them."""


class PodSecurity(Values):
    """As whom the operator's pods run."""

    user_ids: UserIds = UserIds.OPERATOR
    """Operator: as user and group 10001. Platform, where each namespace has a range of users, as on OpenShift: the pods name none."""


class NetworkPolicy(Values):
    """What the operator's pods may connect to."""

    enabled: bool = True
    """Whether the operator's own pods have a NetworkPolicy."""
    extra_egress: Annotated[tuple[NetworkPolicyEgressRule, ...], Field(max_length=64)] = ()
    """Rules beside its own, for example for a PostgreSQL on another port: [{ports: [{port: 6432}]}]."""


class Namespaces(Values):
    """Which namespaces the operator serves."""

    names: Annotated[tuple[NamespaceName, ...], Field(max_length=256)] = ()
    """The namespaces to serve, which have to be there: the operator gets a Role in each, and nearly nothing in the cluster. Empty: all."""
    match_labels: Annotated[dict[LabelName, PlainLabelValue], Field(max_length=8)] = {}
    """Labels without which the API server lets the operator write nothing in a namespace. Empty: it may write in all but kube-*."""


class ServiceAccount(Values):
    """The identity of the operator's pods."""

    annotations: Annotations = {}
    """Annotations of the operator's ServiceAccount, for example the role that a cloud gives it."""


class DefaultClass(Values):
    """A TrackingServerClass that comes with the operator."""

    name: ClassName = "standard"
    """The name of the default class, if there is a spec."""
    spec: TrackingServerClassSpec | None = None
    """The spec of a TrackingServerClass for servers that name none. It stays when it is taken out here. Empty: no class is made."""


class Crds(Values):
    """The definitions of TrackingServer and TrackingServerClass."""

    enabled: bool = True
    """Whether the chart brings the CustomResourceDefinitions, and upgrades them."""
    keep: bool = True
    """Whether they stay when the chart goes or stops bringing them. Without them Kubernetes deletes every TrackingServer."""


class ChartValues(Values):
    """What an installation can say."""

    image: Image
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """Secrets in the namespace of the release with which the image is pulled: [{name: registry}]."""
    replicas: Annotated[int, Field(ge=1, le=5)]
    """The operator's pods: one is active, the others take over."""
    resources: ResourceRequirements
    """Of each of them. More servers than a thousand need more memory."""
    settings: Settings = Settings()
    metrics: Metrics
    node_selector: Labels = {}
    """Labels of the nodes that may run the operator's pods."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=64)] = ()
    """Node taints that the pods put up with."""
    affinity: Affinity = Affinity()
    """Where the pods run, in relation to nodes and other pods."""
    topology_spread_constraints: Annotated[tuple[TopologySpreadConstraint, ...], Field(max_length=16)] = ()
    """How evenly the pods are spread."""
    priority_class_name: Annotated[str, Field(max_length=253, pattern="^[-a-z0-9.]*$")] = ""
    """The PriorityClass of the pods. Empty: the cluster's default."""
    pod_security: PodSecurity = PodSecurity()
    network_policy: NetworkPolicy = NetworkPolicy()
    namespaces: Namespaces = Namespaces()
    service_account: ServiceAccount = ServiceAccount()
    default_class: DefaultClass = DefaultClass()
    crds: Crds = Crds()


def default_values(base: Iterable[Object]) -> ChartValues:
    """The values that give manifests/base."""
    (deployment,) = (one for one in base if one["kind"] == "Deployment")
    (policy,) = (one for one in base if one["kind"] == "NetworkPolicy")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    repository, _, tag = container["image"].rpartition(":")
    (scraping,) = policy["spec"]["ingress"]
    return ChartValues.model_validate(
        {
            "image": {
                "repository": repository,
                "tag": tag,
                "digest": "",
                "pullPolicy": container["imagePullPolicy"],
            },
            "replicas": deployment["spec"]["replicas"],
            "resources": container["resources"],
            "settings": {},
            "metrics": {"enabled": True, "namespaceSelector": scraping["from"][0]["namespaceSelector"]},
            "topologySpreadConstraints": pod["topologySpreadConstraints"],
        }
    )


def values_of_many_teams(base: Iterable[Object], multi_tenant: Iterable[Object]) -> Object:
    """The values that give manifests/overlays/multi-tenant."""
    own, other = ({one["kind"]: one for one in objects} for objects in (base, multi_tenant))
    before, after = (one["Deployment"]["spec"]["template"]["spec"]["containers"][0] for one in (own, other))
    offered = other["TrackingServerClass"]
    return {
        "resources": after["resources"],
        "settings": {
            _setting(variable["name"]): json.loads(variable["value"])
            for variable in after["env"]
            if variable not in before["env"]
        },
        "namespaces": {"matchLabels": offered["spec"]["allowedNamespaces"]["matchLabels"]},
        "defaultClass": {"name": offered["metadata"]["name"], "spec": offered["spec"]},
    }


def values_text(values: ChartValues) -> str:
    """values.yaml: each value with its default and, in front of it, what it is."""
    return "\n".join(_lines(values)) + "\n"


def values_schema() -> Schema:
    """values.schema.json: names that are not known are refused everywhere, as nobody would notice them."""
    schema = _closed(structural_schema(ChartValues))
    # A chart that has this one as a part passes on values that are meant for all of its parts.
    schema["properties"]["global"] = {"type": "object"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema}


def _lines(values: Values, indent: str = "") -> Iterable[str]:
    for name, field in type(values).model_fields.items():
        inner = getattr(values, name)
        is_part = isinstance(inner, Values) and not isinstance(inner, Settings)
        description = field.description or (type(inner).__doc__ or "" if is_part else "")
        if isinstance(inner, Settings):
            description = f"The operator's settings: {', '.join(_names_of_settings())}. tracking-operator run --help says what they are."
        if not indent:
            yield ""
        for line in wrap(" ".join(description.split()), WIDTH - len(indent)):
            yield f"{indent}# {line}"
        alias = field.alias or name
        if is_part:
            yield f"{indent}{alias}:"
            yield from _lines(inner, f"{indent}  ")
        else:
            text = as_yaml({alias: _plain(values, alias)}).rstrip()
            yield from (f"{indent}{line}" for line in text.splitlines())


def _plain(values: Values, alias: str) -> object:
    given = values.as_kubernetes()
    return (
        given if alias in given else values.model_dump(mode="json", by_alias=True, exclude_none=True)
    ).get(alias, {})


def _names_of_settings() -> list[str]:
    return sorted(field.alias or name for name, field in Settings.model_fields.items())


def _setting(variable: str) -> str:
    alias = Settings.model_fields[variable.removeprefix(ENVIRONMENT).lower()].alias
    assert alias is not None  # noqa: S101 — for mypy
    return alias


def _closed(schema: Schema) -> Schema:
    """The schema without what only Kubernetes understands, and with no other names than those it has."""

    def closed_part(part: object) -> object:
        if isinstance(part, list):
            return [closed_part(one) for one in part]
        return _closed(part) if isinstance(part, dict) else part

    closed = {
        name: closed_part(part) for name, part in schema.items() if not name.startswith("x-kubernetes-")
    }
    if schema.get("x-kubernetes-int-or-string"):
        closed["type"] = ["number", "string"]
    if closed.get("type") == "object" and {"properties", "patternProperties"} & closed.keys():
        closed.setdefault("additionalProperties", False)
    return closed
