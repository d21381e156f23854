"""What an API server of another Kubernetes version would refuse of an object, by kubeconform and that version's own schemas.

The schemas are made from the OpenAPI in Kubernetes' sources, as its authors publish them as a Go module: those that kubeconform
looks for by itself are on GitHub only, which not every machine reaches.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from dev.local_cluster import go
from dev.local_cluster.binaries import published_program
from dev.local_cluster.cache import built_once, digest_of
from dev.local_cluster.versions import pinned

MODULE: Final = "k8s.io/kubernetes"
MINOR_VERSIONS: Final = ("1.33", "1.34", "1.35", "1.36", "1.37")
"""Those that clouds and their authors keep up, as of November 2026."""
FORM: Final = "2"
"""Another form of what is cached has another number."""
REFERENCE: Final = "#/components/schemas/"
APART: Final = {"$ref", "properties", "default", "description", "format"}
SECONDS: Final = 120.0

Schema = dict[str, Any]
"""A JSON Schema, or an OpenAPI document."""


def problems(minor: str, objects: list[Schema]) -> list[str]:
    """A sentence for each object that an API server of a minor version refuses by its schema, or whose kind it does not have.

    Fields that a schema does not have are problems: an API server drops them, and the object is not what somebody wrote.
    """
    location = f"{schemas(minor)}/{{{{.Group}}}}/{{{{.ResourceAPIVersion}}}}/{{{{.ResourceKind}}}}.json"
    done = subprocess.run(
        [published_program("kubeconform"), "-strict", "-output", "json", "-schema-location", location],
        # JSON is YAML; each is a document of its own.
        input="\n---\n".join(json.dumps(_without_nulls(one)) for one in objects),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    found = json.loads(done.stdout)["resources"]
    return [f"{one['kind']} {one['name']}: {one['msg']}" for one in found]


def schemas(minor: str) -> Path:
    """The folder with the schemas of a version, made when it is not in the cache: GROUP/VERSION/KIND.json."""
    component = f"kubernetes-{minor}"
    version, expected = pinned(component), pinned(component, "sum")

    def build(folder: Path) -> None:
        source = go.published_module(MODULE, version, expected) / "api" / "openapi-spec" / "v3"
        for document in sorted(source.glob("api*__v*_openapi.json")):
            _write_kinds(folder, json.loads(document.read_text())["components"]["schemas"])

    return built_once("kubernetes-schemas", f"{version}-{digest_of((expected, FORM))}", build)


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 — any part of an object
    """The same without fields that are null, which an API server takes for fields that are not there."""
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return value


def _write_kinds(folder: Path, known: Schema) -> None:
    """Write the kinds of one group and version, each with everything that it refers to."""
    for name, schema in known.items():
        for identity in schema.get("x-kubernetes-group-version-kind", ()):
            group, version, kind = identity["group"], identity["version"], identity["kind"]
            if kind.endswith("List") or "metadata" not in schema["properties"]:
                continue
            # kubeconform takes what stands in front of the slash of an apiVersion for the group.
            target = folder / (group or version) / version / f"{kind.lower()}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            parts = {one: _strict(known[one]) for one in _referred(known, name)}
            target.write_text(json.dumps({"$ref": f"#/definitions/{name}", "definitions": parts}))


def _referred(known: Schema, name: str) -> list[str]:
    """The names of a schema and of all that it refers to, straight or not; schemas may refer to themselves."""
    found, todo = {name}, [name]
    while todo:
        new = set(_references(known[todo.pop()])) - found
        found |= new
        todo += new
    return sorted(found)


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _references(one)
    if isinstance(schema, dict):
        for key, one in schema.items():
            if key == "$ref" and isinstance(one, str):  # a field may be called so, too
                yield one.removeprefix(REFERENCE)
            else:
                yield from _references(one)


def _strict(schema: Any) -> Any:  # noqa: ANN401 — any part of a schema
    """The same as JSON Schema: without texts for people, and with fields refused that it does not name."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    same = {key: _strict(one) for key, one in schema.items() if key not in APART and key[:2] != "x-"}
    if "$ref" in schema:
        same["$ref"] = f"#/definitions/{schema['$ref'].removeprefix(REFERENCE)}"
    if "properties" in schema:
        same["properties"] = {name: _strict(one) for name, one in schema["properties"].items()}
        same.setdefault("additionalProperties", False)
    return same
