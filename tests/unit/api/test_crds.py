"""The CRDs are structural, explain themselves, and the committed ones are what the models say."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tracking_operator.api.crds import Schema, all_crds, as_yaml, structural_schema
from tracking_operator.api.generate import generated_files, main, stale_files
from tracking_operator.api.tracking_server import TrackingServer

REPOSITORY = Path(__file__).parents[3]

GENERATED = generated_files()

FORBIDDEN = {
    "$ref",
    "$defs",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "default",
    "title",
    "nullable",
    "propertyNames",
    "const",
}
"""What a structural schema must not have, or what would be frozen into stored objects."""


def nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield each schema within a schema, with the path of its field."""
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from nodes(member, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")


NODES = {
    path: schema
    for crd in all_crds()
    for path, schema in nodes(
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], crd["spec"]["names"]["kind"]
    )
}


def test_schema_is_structural() -> None:
    for path, schema in NODES.items():
        assert not FORBIDDEN & schema.keys(), path
        assert "type" in schema or schema.get("x-kubernetes-int-or-string") is True, path
        assert not {"properties", "additionalProperties"} <= schema.keys(), path
        assert schema.get("additionalProperties") is not False, path
        if schema.get("type") == "array":
            assert schema["x-kubernetes-list-type"] in {"map", "set", "atomic"}, path


def test_nothing_is_without_a_bound() -> None:
    """Whatever a team writes into a resource is kept in the operator's memory."""
    unbounded = [path for path, schema in NODES.items() if not is_bounded(path, schema)]
    assert unbounded == []


def is_bounded(path: str, schema: Schema) -> bool:
    """Whether there is an end to what may be at this place; Kubernetes itself bounds ``metadata``."""
    if "enum" in schema or schema.get("type") in ("integer", "number", "boolean"):
        return True
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return False
    if schema.get("type") == "string" or schema.get("x-kubernetes-int-or-string"):
        return 0 < int(schema.get("maxLength", 0)) <= 32768
    if schema["type"] == "array":
        return 0 < int(schema.get("maxItems", 0)) <= 256
    if "additionalProperties" in schema:
        return 0 < int(schema.get("maxProperties", 0)) <= 256
    return "properties" in schema or path.endswith(NAMED_BY_THEIR_PRESENCE)


NAMED_BY_THEIR_PRESENCE = (".s3", ".none", ".basic")
"""Objects that say something by being there; unknown fields of theirs are dropped by the API server."""


@pytest.mark.parametrize(
    ("quantity", "is_let_in"),
    [
        ("1", True), ("1E", True), ("1Ei", True), ("1.5e3", True), ("64E+09", True), ("5e-1", True), ("123456789", True),
        ("64e-4294967287", False), ("1e9223372036854775807", False), ("1E+100", False), ("1e000", False),
    ],
)  # fmt: skip
def test_every_quantity_has_an_exponent_of_two_digits_at_most(quantity: str, is_let_in: bool) -> None:
    """In every place: a longer one is another number to Kubernetes than to us."""
    patterns = {
        path: schema.get("pattern", "")
        for path, schema in NODES.items()
        if schema.get("x-kubernetes-int-or-string")
    }
    assert patterns
    assert {
        path for path, pattern in patterns.items() if bool(re.search(pattern, quantity)) != is_let_in
    } == set()


def test_every_field_is_explained() -> None:
    for path, schema in NODES.items():
        if not path.endswith("[]") and ".metadata" not in path:
            assert schema["description"].endswith((".", '."')), path
            assert "\n" not in schema["description"], path


def test_every_rule_has_a_short_sentence_and_reports_at_a_field_that_exists() -> None:
    for path, schema in NODES.items():
        for rule in schema.get("x-kubernetes-validations", []):
            assert 0 < len(rule["message"]) < 300, path
            assert "\n" not in rule["rule"], path
            if "fieldPath" in rule:
                assert has_field(schema, rule["fieldPath"]), f"{path} has no field {rule['fieldPath']}"


def has_field(schema: Schema, field_path: str) -> bool:
    """Whether the schema has the field, as the API server checks for a rule's ``fieldPath``."""
    for name in field_path.removeprefix(".").split("."):
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
    return True


def test_keys_of_shared_lists_are_required_fields() -> None:
    shared = {path: schema for path, schema in NODES.items() if schema.get("x-kubernetes-list-type") == "map"}
    assert "TrackingServer.status.conditions" in shared
    for path, schema in shared.items():
        assert set(schema["x-kubernetes-list-map-keys"]) <= set(schema["items"]["required"]), path


def test_equal_models_give_equal_files() -> None:
    assert generated_files() == GENERATED


@pytest.mark.parametrize("path", sorted(GENERATED), ids=str)
def test_committed_file_is_up_to_date(path: Path) -> None:
    committed = REPOSITORY / path
    assert committed.exists(), f"{path} is missing; run `make generate`"
    assert committed.read_text(encoding="utf-8") == GENERATED[path], f"{path} is stale; run `make generate`"


@pytest.mark.parametrize("path", sorted(GENERATED), ids=str)
def test_generated_file_says_so(path: Path) -> None:
    assert "Do not edit" in GENERATED[path].splitlines()[0]


@pytest.mark.parametrize("path", sorted(path for path in GENERATED if path.suffix == ".yaml"), ids=str)
def test_generated_manifest_repeats_what_it_shares_and_has_no_anchors(path: Path) -> None:
    tokens = yaml.scan(GENERATED[path])
    assert [one.value for one in tokens if isinstance(one, yaml.AnchorToken | yaml.AliasToken)] == []


def test_generate_writes_what_is_stale_and_check_only_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path), "--check"]) == 1
    assert "crds/trackingservers.yaml is out of date; run `make generate`" in capsys.readouterr().out
    assert stale_files(tmp_path) == GENERATED
    assert main(["--output", str(tmp_path)]) == 0
    assert main(["--output", str(tmp_path), "--check"]) == 0
    assert stale_files(tmp_path) == {}


def test_generate_does_not_touch_files_that_are_up_to_date(tmp_path: Path) -> None:
    main(["--output", str(tmp_path)])
    written = {path: (tmp_path / path).stat().st_mtime_ns for path in GENERATED}
    (tmp_path / "crds/trackingservers.yaml").write_text("edited")
    main(["--output", str(tmp_path)])
    changed = [path for path in written if (tmp_path / path).stat().st_mtime_ns != written[path]]
    assert changed == [Path("crds/trackingservers.yaml")]


def test_yaml_reads_back_as_the_crds() -> None:
    assert list(yaml.safe_load_all(as_yaml(*all_crds()))) == all_crds()


def test_a_field_s_own_description_wins_over_its_type_s() -> None:
    spec = structural_schema(TrackingServer)["properties"]["spec"]
    assert spec["description"] == "What the team asks for."
