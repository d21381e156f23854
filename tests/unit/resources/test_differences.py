"""A difference between two servers' objects is short, can be applied in one way, and names what it changes."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.resources.differences import DoesNotApply, Objects, difference, patched

BASE: Objects = {
    "Service mlflow": ["spec:", "  port: 80"],
    "Deployment mlflow": [
        "spec:",
        "  replicas: 1",
        "  containers:",
        "  - name: check",
        "    env:",
        "    - name: HOME",
        "      value: /tmp",
        "  - name: mlflow",
        "    env:",
        "    - name: HOME",
        "      value: /tmp",
    ],
    "Secret mlflow": ["data: {}"],
}
OTHER: Objects = {
    "Service mlflow": BASE["Service mlflow"],
    "Job migrate": ["spec: {}"],
    "Deployment mlflow": [
        "spec:",
        "  replicas: 3",
        *BASE["Deployment mlflow"][2:],
        "    - name: TMPDIR",
        "      value: /tmp",
    ],
}
DIFFERENCE = """\
@@ objects @@
 Service mlflow
+Job migrate
-Secret mlflow
@@ Job migrate @@
+spec: {}
@@ Deployment mlflow @@
 spec:
-  replicas: 1
+  replicas: 3
   containers:
   - name: mlflow
     env:
     - name: HOME
       value: /tmp
+    - name: TMPDIR
+      value: /tmp
"""

lines = st.lists(
    st.builds(
        lambda depth, text: "  " * depth + text,
        st.integers(0, 3),
        st.sampled_from(["", "a:", "b: 1", "- a: 1", "- b", "+ c", "@@ d @@"]),
    ),
    max_size=12,
)
objects = st.dictionaries(
    st.sampled_from(["Service mlflow", "Secret mlflow", "Secret client", "Job migrate"]), lines
)


def test_a_change_stands_below_the_keys_that_it_belongs_to() -> None:
    assert difference(BASE, OTHER) == DIFFERENCE


def test_a_change_that_both_servers_share_leaves_it_as_it_is() -> None:
    both = {"Service mlflow": ["metadata: {}", "spec:", "  port: 8080"]}
    base, other = BASE | both, OTHER | both
    for server in (base, other):
        server["Deployment mlflow"] = ["metadata: {}", *server["Deployment mlflow"], "status: {}"]
    assert difference(base, other) == DIFFERENCE


def mistakes() -> Iterator[str]:
    """The difference with one change forgotten or misspelled."""
    written = DIFFERENCE.splitlines(keepends=True)
    for at, line in enumerate(written):
        if line[0] in "+-":
            yield "".join([*written[:at], *written[at + 1 :]])
            yield "".join([*written[:at], line[0] + "x" + line[1:], *written[at + 1 :]])


def result(base: Objects, text: str) -> list[tuple[str, list[str]]] | None:
    """What a difference makes of a base, in its order; None if it does not apply."""
    try:
        return list(patched(base, text).items())
    except DoesNotApply:
        return None


@given(objects, objects)
def test_applied_to_its_base_it_gives_exactly_the_other_server(base: Objects, other: Objects) -> None:
    assert result(base, difference(base, other)) == list(other.items())


@pytest.mark.parametrize("wrong", list(mistakes()))
def test_with_any_mistake_it_gives_another_server_or_does_not_apply(wrong: str) -> None:
    assert result(BASE, wrong) != list(OTHER.items())


def test_it_does_not_apply_to_a_base_that_lacks_what_it_removes() -> None:
    base = BASE | {"Deployment mlflow": ["spec:", "  replicas: 2"]}
    with pytest.raises(DoesNotApply, match="Deployment mlflow has no line '  replicas: 1' there"):
        patched(base, DIFFERENCE)


def test_it_changes_no_object_that_the_server_lacks() -> None:
    with pytest.raises(DoesNotApply, match="no object Secret of-nobody"):
        patched(BASE, DIFFERENCE + "@@ Secret of-nobody @@\n+data: {}\n")
