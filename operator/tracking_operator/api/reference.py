"""The reference pages in ``docs/reference/``, made from the models and the enums of conditions and reasons."""

from collections.abc import Iterator
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.crds import (
    Schema,
    tracking_server_backup_crd,
    tracking_server_class_crd,
    tracking_server_client_crd,
    tracking_server_crd,
)
from tracking_operator.api.pod_template import RESERVED_ENV, RESERVED_ENV_PREFIXES
from tracking_operator.api.store_kind_admission import STORE_KIND_RULES
from tracking_operator.outcomes import OUTCOMES

_HEADER: Final = "<!-- Generated from operator/tracking_operator/api/ by `make generate`. Do not edit. -->\n"

_POD_REFERENCE: Final = (
    "https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodSpec"
)

_AS_IN_KUBERNETES: Final = frozenset(
    {"affinity", "conditions", "env", "envFrom", "tolerations", "topologySpreadConstraints"}
)
"""Fields whose members are not listed: most are Kubernetes' own and described there."""


def reference_pages() -> dict[str, str]:
    """Return each page's Markdown by its file name."""
    return {
        "tracking-server.md": _tracking_server_page(),
        "tracking-server-backup.md": _kind_page(tracking_server_backup_crd()),
        "tracking-server-class.md": _tracking_server_class_page(),
        "tracking-server-client.md": _kind_page(tracking_server_client_crd()),
        "conditions.md": _conditions_page(),
    }


def _tracking_server_page() -> str:
    reserved = "\n".join(f"- `{name}`" for name in RESERVED_ENV)
    prefixes = " or ".join(f"`{prefix}`" for prefix in RESERVED_ENV_PREFIXES)
    policy = "\n".join(f"- {sentence}" for sentence in STORE_KIND_RULES)
    return (
        _kind_page(tracking_server_crd())
        + "\n## Changes of a store\n\nThe admission policy in `manifests/base/admission-policy.yaml` sees annotations, "
        + f"which rules in a CRD do not:\n\n{policy}\n"
        + "\n## Reserved environment variables\n\n"
        + "`podTemplate.env` may not set these, because the operator does, or because they would undo what it "
        + f"sets:\n\n{reserved}\n- everything that begins with {prefixes}\n"
    )


def _tracking_server_class_page() -> str:
    return _kind_page(tracking_server_class_crd())


def _conditions_page() -> str:
    conditions = "\n".join(f"| `{type_}` | {type_.meaning} |" for type_ in ConditionType)
    reasons = "\n".join(
        f"| `{reason}` | {OUTCOMES[reason].home.value} | {reason.when} | {OUTCOMES[reason].retry.value} "
        f"| {reason.remedy or 'Nothing.'} |"
        for reason in Reason
    )
    return f"""{_HEADER}
# Conditions and reasons

`status.conditions` holds standard Kubernetes conditions. `kubectl wait --for=condition=Ready --timeout=5m` waits for the
summary, and after a change `--for=condition=WorkloadReady` until all pods are new; `kubectl describe` shows all of them, with a
message that says what to do. `Reconciling` and `Stalled` are there only while they are true, and name the condition that says why.

## Conditions

| Type | What `True` means |
|---|---|
{conditions}

## Reasons

`Condition` is where a reason is said first; the summary `Ready` repeats it. *May pass* says whether the state may be over without an
edit of the server: **from outside** means that the store, whoever runs it, or another system may mend it, so that the operator goes on
trying (`Reconciling`); **by the operator** that it is at work; **no** that somebody has to decide (`Stalled`, where it is a problem).

| Reason | Condition | When | May pass | What to do |
|---|---|---|---|---|
{reasons}
"""


def _kind_page(crd: Schema) -> str:
    names = crd["spec"]["names"]
    version = crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    columns = ", ".join(column["name"] for column in version["additionalPrinterColumns"])
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    return f"""{_HEADER}
# {names["kind"]}

{schema["description"]}

| | |
|---|---|
| apiVersion | `{crd["spec"]["group"]}/{version["name"]}` |
| kind | `{names["kind"]}` |
| scope | {crd["spec"]["scope"].lower()} |
| short name | `{names["shortNames"][0]}` |
| columns of `kubectl get` | {columns} |

`kubectl explain {names["singular"]}.spec` prints the same as the tables below. A field that is not marked as
required may be left out.

## spec

{_field_table(spec, "spec")}
## Rules

What `kubectl apply` refuses, and what it says then:

| Where | Message |
|---|---|
{_rule_rows(schema)}

## status

{_field_table(status, "status")}"""


def _field_table(schema: Schema, path: str) -> str:
    rows = "\n".join(
        f"| `{name.removeprefix(path + '.')}` | {_type_of(field)} | {_description(name, field, required)} |"
        for name, field, required in _fields(schema, path)
    )
    return f"| Field | Type | Meaning |\n|---|---|---|\n{rows}\n"


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    """Yield each field below ``path`` with its full name, its schema, and whether it is required."""
    for name, field in schema.get("properties", {}).items():
        full_name = f"{path}.{name}"
        yield full_name, field, name in schema.get("required", [])
        if name in _AS_IN_KUBERNETES:
            continue
        if "items" in field:
            yield from _fields(field["items"], f"{full_name}[]")
        else:
            yield from _fields(field, full_name)


def _type_of(schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "items" in schema:
        return f"list of {_type_of(schema['items'])}{_list_keys(schema)}"
    if "additionalProperties" in schema:
        return f"map of string to {_type_of(schema['additionalProperties'])}"
    return f"{schema['type']}{_range(schema)}"


def _list_keys(schema: Schema) -> str:
    keys = schema.get("x-kubernetes-list-map-keys", [])
    return f", unique by {' and '.join(keys)}" if keys else ""


def _range(schema: Schema) -> str:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if lowest is not None and highest is not None:
        return f", {lowest} to {highest}"
    return f", {lowest} or more" if lowest is not None else ""


def _description(name: str, schema: Schema, required: bool) -> str:
    text: str = schema.get("description", "")
    if required:
        text = f"**Required.** {text}"
    if name.rsplit(".", 1)[-1] in _AS_IN_KUBERNETES - {"conditions"} and schema["type"] != "boolean":
        text = f"{text} Members as in a [Kubernetes pod]({_POD_REFERENCE})."
    return text.replace("|", "\\|")


def _rule_rows(schema: Schema) -> str:
    """Return a row for each sentence, with all the places where it is said."""
    places: dict[str, list[str]] = {}
    for where, message in _rules(schema, ""):
        places.setdefault(message, []).append(where)
    return "\n".join(
        f"| {', '.join(dict.fromkeys(where))} | {message} |" for message, where in places.items()
    )


def _rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Yield where each rule reports, and its sentence."""
    for rule in schema.get("x-kubernetes-validations", []):
        where = f"{path}{rule.get('fieldPath', '')}".removeprefix(".")
        yield (f"`{where}`" if where else "the resource"), rule["message"]
    for name, field in schema.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}")
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _rules(schema["additionalProperties"], f"{path}.*")
