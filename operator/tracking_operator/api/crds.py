"""The CustomResourceDefinitions, made from the models: nothing in ``crds/`` is written by hand."""

from typing import Any, Final

import yaml
from pydantic import BaseModel

from tracking_operator.api.labels_and_annotations import GROUP, VERSION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.api.tracking_server_client import TrackingServerClient

Schema = dict[str, Any]
"""A part of a JSON schema or of another plain Kubernetes object."""

GENERATED_HEADER: Final = "# Generated from operator/tracking_operator/api/ by `make generate`. Do not edit: changes will be lost.\n"

_DROPPED: Final = frozenset({"title", "default", "propertyNames"})
"""Keywords that say nothing to a user, or that a structural schema must not have. Defaults among them: in a
CRD they would be frozen into stored objects, where a class's default could no longer reach."""

_KEPT: Final = {"helm.sh/resource-policy": "keep"}
"""Helm leaves the definition when its release goes, and Argo CD when its Application is deleted: with it all TrackingServers would go.
https://helm.sh/docs/howto/charts_tips_and_tricks/#tell-helm-not-to-uninstall-a-resource"""

_API_VERSION: Final = "The version of the API that the object is written in: tracking-operator.dev/v1alpha1."


def tracking_server_crd() -> Schema:
    """Return the CustomResourceDefinition of TrackingServer."""
    return _crd(
        TrackingServer,
        scope="Namespaced",
        short_name="trk",
        columns=[
            _READY,
            _REASON,
            _column("Version", ".status.version"),
            _column("URL", ".status.url"),
            _column("Class", ".status.className", priority=1),
            _column("Replicas", ".status.replicas", "integer", priority=1),
            _AGE,
        ],
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
    )


def tracking_server_class_crd() -> Schema:
    """Return the CustomResourceDefinition of TrackingServerClass."""
    return _crd(
        TrackingServerClass,
        scope="Cluster",
        short_name="trkc",
        columns=[
            _READY,
            _REASON,
            _column(
                "Default", rf".metadata.annotations.{GROUP.replace('.', chr(92) + '.')}/is-default-class"
            ),
            _column("Version", ".status.defaultVersion"),
            _column("Versions", ".status.versions"),
            _AGE,
        ],
        subresources={"status": {}},
    )


def tracking_server_backup_crd() -> Schema:
    """Return the CustomResourceDefinition of TrackingServerBackup."""
    return _crd(
        TrackingServerBackup,
        scope="Namespaced",
        short_name="trkb",
        columns=[
            _column("Server", ".spec.serverRef.name"),
            _column("Complete", '.status.conditions[?(@.type=="Complete")].status'),
            _column("Reason", '.status.conditions[?(@.type=="Complete")].reason'),
            _column("Runs", ".status.runs", "integer"),
            _column("Artifacts", ".status.objects", "integer"),
            _column("Size", ".status.size", "integer"),
            _column("Version", ".status.mlflowVersion", priority=1),
            _AGE,
        ],
        subresources={"status": {}},
    )


def tracking_server_client_crd() -> Schema:
    """Return the CustomResourceDefinition of TrackingServerClient."""
    return _crd(
        TrackingServerClient,
        scope="Namespaced",
        short_name="trkcl",
        columns=[
            _column("Server namespace", ".spec.serverRef.namespace"),
            _column("Server", ".spec.serverRef.name"),
            _column("Permission", ".spec.permission"),
            _READY,
            _REASON,
            _column("User", ".status.username", priority=1),
            _AGE,
        ],
        subresources={"status": {}},
    )


def all_crds() -> list[Schema]:
    """Return every CustomResourceDefinition of the operator."""
    return [
        tracking_server_crd(),
        tracking_server_backup_crd(),
        tracking_server_class_crd(),
        tracking_server_client_crd(),
    ]


class _DumperWithoutAnchors(yaml.SafeDumper):
    """Writes a value in full wherever it stands.

    Models that share a list would get an anchor (``&id001``) at the first place and an alias at the others:
    no reader sees what an alias stands for, and a change of one model renumbers the anchors of all.
    """

    def ignore_aliases(self, _data: object) -> bool:
        return True


def as_yaml(*objects: Schema) -> str:
    """Return the objects as one YAML stream, in the order of their fields and without anchors."""
    return yaml.dump_all(
        objects, Dumper=_DumperWithoutAnchors, sort_keys=False, width=120, allow_unicode=True
    )


def structural_schema(model: type[BaseModel]) -> Schema:
    """Return the model's schema as a CRD wants it.

    Without references, titles, defaults and alternatives with null; see
    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.pop("$defs", {}))


def _structural(schema: Schema, definitions: Schema) -> Schema:
    inlined = _without_null(_without_reference(schema, definitions), definitions)
    result: Schema = {}
    for keyword, value in inlined.items():
        if keyword in _DROPPED:
            continue
        if keyword == "properties":
            result[keyword] = {name: _structural(member, definitions) for name, member in value.items()}
        elif keyword in {"items", "additionalProperties"} and isinstance(value, dict):
            result[keyword] = _structural(value, definitions)
        elif keyword == "description":
            result[keyword] = " ".join(value.split())
        else:
            result[keyword] = value
    return {keyword: result[keyword] for keyword in sorted(result, key=_reading_order)}


def _without_reference(schema: Schema, definitions: Schema) -> Schema:
    """Replace ``$ref`` by what it refers to; what stands beside it (a field's own description) wins."""
    if "$ref" not in schema:
        return schema
    beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
    return {**definitions[schema["$ref"].removeprefix("#/$defs/")], **beside}


def _without_null(schema: Schema, definitions: Schema) -> Schema:
    """Replace "this or null" by "this": in Kubernetes an absent field is left out."""
    alternatives = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if len(alternatives) != 1:
        return schema
    beside = {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}
    return {**_without_reference(alternatives[0], definitions), **beside}


def _reading_order(keyword: str) -> int:
    """Put what a reader looks for first in front, and the long lists last."""
    first = ["type", "description", "format", "enum"]
    last = ["x-kubernetes-validations", "required", "items", "properties"]
    if keyword in first:
        return first.index(keyword)
    return len(first) + 1 + last.index(keyword) if keyword in last else len(first)


def _column(name: str, path: str, type_: str = "string", priority: int = 0) -> Schema:
    column: Schema = {"name": name, "type": type_, "jsonPath": path}
    return {**column, "priority": priority} if priority else column


_READY: Final = _column("Ready", '.status.conditions[?(@.type=="Ready")].status')
_REASON: Final = _column("Reason", '.status.conditions[?(@.type=="Ready")].reason')
_AGE: Final = _column("Age", ".metadata.creationTimestamp", "date")


def _crd(
    model: type[BaseModel], *, scope: str, short_name: str, columns: list[Schema], subresources: Schema
) -> Schema:
    kind = model.__name__
    singular = kind.lower()
    plural = f"{singular}es" if singular.endswith("s") else f"{singular}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "annotations": _KEPT},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": singular,
                "shortNames": [short_name],
                "categories": ["mlflow"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": subresources,
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": _object_schema(model)},
                }
            ],
        },
    }


def _object_schema(model: type[BaseModel]) -> Schema:
    """Return the schema of the whole object, with the parts that Kubernetes itself checks left to it."""
    schema = structural_schema(model)
    schema["properties"] |= {
        "apiVersion": {"type": "string", "maxLength": 64, "description": _API_VERSION},
        "kind": {
            "type": "string",
            "maxLength": 64,
            "description": f"The kind of the object: {model.__name__}.",
        },
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
    }
    return schema
