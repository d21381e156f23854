"""The files with Kubernetes objects that commands read: each mistake in them is one sentence, with the file and the field."""

import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import yaml
from pydantic import ValidationError

from tracking_operator.api.crds import Schema, structural_schema
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass

STANDARD_INPUT: Final = Path("-")
LEFT_TO_KUBERNETES: Final = ("apiVersion", "kind", "metadata", "status")
"""What the API server fills in, and a file may have when it comes from one."""
VERSIONS: Final = ("spec.version", "spec.mlflow.defaultVersion")
MOST_BYTES: Final = 4 * 1024 * 1024
"""No object in a cluster is larger than a part of this; a device has no end."""
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_WANTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "model_type": "a map",
    "dict_type": "a map",
    "tuple_type": "a list",
    "list_type": "a list",
}
"""What has to stand in a field, by the kind of pydantic's complaint about another kind of value."""

_KINDS: Final = {
    type(None): "empty",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a map",
}
"""What YAML makes of what somebody writes, in words."""

Model = TypeVar("Model", TrackingServer, TrackingServerClass)
Document = dict[str, object]


class ManifestError(Exception):
    """A file cannot be used; the message says which, why, and what to do."""


def read_documents(path: Path) -> list[Document]:
    """All objects in a file, or in what comes on the standard input (``-``). Raises ManifestError."""
    text = _text(path)
    try:
        found = [one for one in _parsed(text) if one is not None]
    except yaml.YAMLError as error:
        raise ManifestError(f"{path} is no YAML: {_complaint(error)}.") from error
    except RecursionError as error:
        raise ManifestError(f"{path} is nested too deeply to be read.") from error
    if not found:
        raise ManifestError(f"{path} is empty: put a TrackingServer into it.")
    documents = [one for one in found if isinstance(one, dict)]
    if len(documents) != len(found):
        raise ManifestError(
            f"{path} holds something else than Kubernetes objects: put a TrackingServer into it."
        )
    return documents


def _text(path: Path) -> str:
    try:
        if path == STANDARD_INPUT:
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MOST_BYTES:
        raise ManifestError(f"{path} has more than {MOST_BYTES // 1024 // 1024} MiB, as no manifest has.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is no text in UTF-8: give a file of YAML or JSON.") from error


def _parsed(text: str) -> Iterator[object]:
    """The documents of a YAML text, in which no field may stand twice: one would be lost in silence. Kubectl refuses it, too."""
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node() and (node := loader.get_node()):
            _require_single_fields(node, seen=set())
            yield loader.construct_document(node)
    finally:
        loader.dispose()


def _require_single_fields(node: yaml.Node, seen: set[int]) -> None:
    """Raises MarkedYAMLError."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    fields = set[str]()
    for entry in node.value:
        for one in entry if isinstance(node, yaml.MappingNode) else (entry,):
            _require_single_fields(one, seen)
        if isinstance(node, yaml.MappingNode) and isinstance(key := entry[0], yaml.ScalarNode):
            if key.value in fields:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value!r} stands twice in one map", problem_mark=key.start_mark
                )
            fields.add(key.value)


def _complaint(error: yaml.YAMLError) -> str:
    """Where the parser stopped, and why."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and (mark := error.problem_mark):
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def read_as(model: type[Model], document: Document, path: Path) -> Model:
    """One object as what it should be; a namespace that it leaves out is ``default``, as with kubectl. Raises ManifestError."""
    wanted, kind = model.__name__, document.get("kind")
    if kind != wanted:
        held = kind if kind and isinstance(kind, str) else "thing without a kind"
        raise ManifestError(f"{path} holds a {held}, and not a {wanted}.")
    if document.get("apiVersion") != API_VERSION:
        raise ManifestError(
            f"{path}: apiVersion of a {wanted} is {API_VERSION}, and not {document.get('apiVersion') or 'absent'}."
        )
    if problems := list(_unknown_fields(document, structural_schema(model), "")):
        raise ManifestError(f"{path}: {' '.join(problems)}")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise ManifestError(f"{path}: metadata with a name is missing.")
    if problem := _problem_of_name(metadata.get("name")):
        raise ManifestError(f"{path}: {problem}")
    try:
        return model.model_validate(document | {"metadata": {"namespace": "default"} | metadata})
    except ValidationError as error:
        raise ManifestError(f"{path}: {' '.join(_sentences(error, document))}") from error


def _problem_of_name(name: object) -> str | None:
    """Why the API server would not take an object of this name."""
    if name is None or name == "":
        return "metadata.name is missing."
    if not isinstance(name, str):
        return f"metadata.name is {_kind(name)} here, and has to be text: write it in quotes."
    if not _NAME.fullmatch(name):
        return (
            "metadata.name has only a-z, 0-9, '-' and '.' in it, and begins and ends with a letter or digit."
        )
    return None


def _unknown_fields(value: object, schema: Schema, path: str) -> Iterator[str]:
    """What stands in an object that its definition does not know, each as a sentence."""
    if isinstance(value, list) and "items" in schema:
        for index, one in enumerate(value):
            yield from _unknown_fields(one, schema["items"], f"{path}[{index}]")
    if not isinstance(value, Mapping) or "properties" not in schema:
        return
    known = schema["properties"]
    for name, member in value.items():
        if not path and name in LEFT_TO_KUBERNETES:
            continue
        field = f"{path}.{name}".removeprefix(".")
        if name in known:
            yield from _unknown_fields(member, known[name], field)
            continue
        alike = difflib.get_close_matches(str(name), known, n=1)
        yield f"There is no field {field}" + (f": is it {alike[0]}?" if alike else ": remove it.")


def _sentences(error: ValidationError, document: Document) -> Iterator[str]:
    """What does not fit, each as a sentence. Values may be secrets that somebody wrote into the wrong field, and are not quoted."""
    for one in error.errors(include_input=False, include_url=False):
        field = ".".join(str(part) for part in one["loc"])
        yield _sentence(field, one["type"], one["msg"], _at(document, one["loc"]))


def _sentence(field: str, complaint: str, said: str, found: object) -> str:
    wanted = _WANTED.get(complaint)
    if wanted == "text" and not isinstance(found, dict | list | None):
        example = ', as "3.17.2"' if field in VERSIONS else ""
        return f"{field} is {_kind(found)} here: write it in quotes{example}."
    if wanted:
        return f"{field} is {_kind(found)} here, and has to be {wanted}."
    if complaint == "missing":
        return f"{field} is missing."
    message = said.removeprefix("Value error, ").rstrip(".")
    what, should, how = message.partition(" should ")
    if should and what in ("Input", "String", "Tuple", "Dictionary", "Value"):
        return f"{field} should {how}."
    return f"{field}: {message[:1].lower()}{message[1:]}."


def _kind(value: object) -> str:
    """What a value is, in words."""
    return _KINDS.get(type(value), "a date")


def _at(document: object, location: tuple[int | str, ...]) -> object:
    for part in location:
        if isinstance(document, Mapping):
            document = document.get(part)
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
        else:
            return None
    return document
