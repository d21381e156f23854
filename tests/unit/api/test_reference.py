"""The reference pages hold what the models hold."""

import pytest

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.crds import Schema, tracking_server_class_crd, tracking_server_crd
from tracking_operator.api.pod_template import RESERVED_ENV
from tracking_operator.api.reference import reference_pages

PAGES = reference_pages()


def test_every_condition_and_reason_is_in_the_reference() -> None:
    for word in (*ConditionType, *Reason):
        assert f"| `{word}` |" in PAGES["conditions.md"]


def test_every_reserved_variable_is_in_the_reference() -> None:
    for name in RESERVED_ENV:
        assert f"- `{name}`" in PAGES["tracking-server.md"]


@pytest.mark.parametrize(
    ("page", "crd"),
    [
        ("tracking-server.md", tracking_server_crd()),
        ("tracking-server-class.md", tracking_server_class_crd()),
    ],
)
def test_every_field_and_rule_is_in_the_reference(page: str, crd: Schema) -> None:
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for part in ("spec", "status"):
        for name in schema["properties"][part]["properties"]:
            assert f"| `{name}` |" in PAGES[page]
    for rule in (
        *schema.get("x-kubernetes-validations", []),
        *schema["properties"]["spec"]["x-kubernetes-validations"],
    ):
        assert rule["message"] in PAGES[page]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_tables_are_whole(page: str) -> None:
    """No cell breaks out of its table by a bar or a line break."""
    rows = [line for line in PAGES[page].splitlines() if line.startswith("|")]
    assert rows
    for row in rows:
        assert row.endswith("|")
        assert row.replace("\\|", "").count("|") in {3, 4, 6}
