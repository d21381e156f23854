"""The chart's templates, made from the objects that kustomize makes of manifests/base and manifests/namespaced."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Final

from dev.chart.markup import (
    Object,
    as_template,
    block,
    entries,
    entries_if,
    if_so,
    place,
    value,
)
from dev.deploy import NAMESPACE
from tracking_operator.api.operator_admission import OPERATOR_POLICY_NAME

HEADER: Final = (
    "{{- /* Generated from manifests/ by `make generate`. Do not edit: changes will be lost. */ -}}\n"
)

OPERATOR: Final = "tracking-operator"
SECRET_WATCH: Final = "tracking-operator-secret-watch"  # noqa: S105 — the name of a ClusterRole

CHOSEN: Final = ".Values.namespaces.names"
WATCHES_SECRETS: Final = f'(include "{OPERATOR}.watchesSecrets" $)'

SCHEDULING: Final = ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints")

Key = tuple[str, str, str]
"""Kind, namespace and name of an object."""


def key_of(one: Object) -> Key:
    """What tells an object from all others of an installation."""
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def by_key(objects: Iterable[Object]) -> dict[Key, Object]:
    """Objects by kind, namespace and name."""
    return {key_of(one): one for one in objects}


def templates(base: Iterable[Object], namespaced: Iterable[Object]) -> dict[str, str]:
    """The text of each template by its file's name: of the operator for the whole cluster, and for chosen namespaces."""
    everywhere, chosen = by_key(base), by_key(namespaced)
    files = {}
    for key, one in everywhere.items():
        if one["kind"] == "Namespace":  # Helm makes it: --create-namespace
            continue
        other = chosen.get(key)
        instead = other if other != one and one["kind"] != "Deployment" else None
        files[_file(one)] = _template_of(one, instead, is_for_all=other is not None)
    for key, one in chosen.items():
        if key not in everywhere and key[1] == NAMESPACE:
            files[_file(one)] = _only_if(CHOSEN, _text(one))
    served = {
        one["kind"]: one for key, one in chosen.items() if key not in everywhere and key[1] != NAMESPACE
    }
    for one in served.values():
        files[_file(one, "served-namespace")] = _for_each_namespace(one)
    return {name: HEADER + text for name, text in files.items()}


def _template_of(one: Object, instead: Object | None, *, is_for_all: bool) -> str:
    text = _text(one)
    if instead is not None:
        return f"{{{{- if {CHOSEN} }}}}\n{_text(instead)}{{{{- else }}}}\n{text}{{{{- end }}}}\n"
    if one["metadata"]["name"] == SECRET_WATCH:
        return _only_if(f"and (not {CHOSEN}) {WATCHES_SECRETS}", text)
    if not is_for_all:
        return _only_if(f"not {CHOSEN}", text)
    condition = CONDITIONS.get(one["kind"])
    return _only_if(condition, text) if condition else text


def _for_each_namespace(one: Object) -> str:
    """A Role, or its RoleBinding, in each namespace that is served: secrets are listed only where they are watched."""
    own = deepcopy(one)
    own["metadata"]["namespace"] = value("$namespace")
    for rule in own.get("rules", []):
        if rule["resources"] == ["secrets"]:
            others = [verb for verb in rule["verbs"] if verb not in ("list", "watch")]
            get, writes = others[:1], others[1:]
            rule["verbs"] = [*get, *entries_if(WATCHES_SECRETS, "list", "watch"), *writes]
    return f"{{{{- range $namespace := {CHOSEN} }}}}\n---\n{_text(own)}{{{{- end }}}}\n"


def _text(one: Object) -> str:
    """One object with its places for values; whatever names the operator's namespace names that of the release."""
    own = deepcopy(one)
    if change := CHANGES.get(own["kind"]):
        change(own)
    if own["kind"] == "CustomResourceDefinition":
        return as_template(own)
    return as_template(_in_the_namespace_of_the_release(own))


def _in_the_namespace_of_the_release(part: object) -> Object:
    def changed(part: object) -> object:
        if isinstance(part, dict):
            return {name: changed(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [changed(inner) for inner in part]
        return part.replace(NAMESPACE, value("$.Release.Namespace")) if isinstance(part, str) else part

    result = changed(part)
    assert isinstance(result, dict)  # noqa: S101 — for mypy
    return result


def _only_if(condition: str, text: str) -> str:
    return f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"


def _file(one: Object, where: str = "") -> str:
    return "-".join(part for part in (one["kind"].lower(), where, one["metadata"]["name"]) if part) + ".yaml"


def _change_deployment(one: Object) -> None:
    one["spec"]["replicas"] = value(".Values.replicas")
    pod = one["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container |= {
        "image": value(f'include "{OPERATOR}.image" . | quote'),
        "imagePullPolicy": value(".Values.image.pullPolicy"),
        "env": [*container["env"], place(f'{{{{- include "{OPERATOR}.settings" . | nindent INDENT }}}}')],
        "ports": [
            part
            for port in container["ports"]
            for part in (entries_if(".Values.metrics.enabled", port) if port["name"] == "metrics" else [port])
        ],
        "resources": block(".Values.resources"),
    }
    security = pod["securityContext"]
    users = {name: security.pop(name) for name in ("runAsUser", "runAsGroup")}
    security |= if_so('eq .Values.podSecurity.userIds "Operator"', users)
    del pod["topologySpreadConstraints"]
    for name in ("imagePullSecrets", *SCHEDULING):
        pod |= if_so(f".Values.{name}", {name: block(f".Values.{name}")})
    pod |= if_so(".Values.priorityClassName", {"priorityClassName": value(".Values.priorityClassName")})


def _change_network_policy(one: Object) -> None:
    (scraping,) = one["spec"].pop("ingress")
    scraping["from"] = [{"namespaceSelector": block(".Values.metrics.namespaceSelector")}]
    one["spec"] |= if_so(".Values.metrics.enabled", {"ingress": [scraping]})
    one["spec"]["egress"].append(entries(".Values.networkPolicy.extraEgress"))


def _change_service_account(one: Object) -> None:
    annotations = ".Values.serviceAccount.annotations"
    one["metadata"] |= if_so(annotations, {"annotations": block(annotations)})


def _change_definition(one: Object) -> None:
    annotations = one["metadata"].pop("annotations")
    one["metadata"] |= if_so(".Values.crds.keep", {"annotations": annotations})


def _change_policy(one: Object) -> None:
    if one["metadata"]["name"] != OPERATOR_POLICY_NAME:
        return
    (served,) = (each for each in one["spec"]["variables"] if each["name"] == "isServed")
    served["expression"] = value(f'include "{OPERATOR}.isServed" . | quote')


CHANGES: Final[dict[str, Callable[[Object], None]]] = {
    "Deployment": _change_deployment,
    "NetworkPolicy": _change_network_policy,
    "ServiceAccount": _change_service_account,
    "CustomResourceDefinition": _change_definition,
    "ValidatingAdmissionPolicy": _change_policy,
}
"""What values can change of an object."""

CONDITIONS: Final = {
    "CustomResourceDefinition": ".Values.crds.enabled",
    "NetworkPolicy": ".Values.networkPolicy.enabled",
    "Service": ".Values.metrics.enabled",
}
"""When an object is there at all."""
