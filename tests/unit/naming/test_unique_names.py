"""Whether templates keep servers apart: what is proved holds for all names, and what is refused can be shown."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tracking_operator import naming
from tracking_operator.naming import unique_names
from tracking_operator.naming.unique_names import NAMESPACE, Example

NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,6}[a-z0-9])?", fullmatch=True)
NAMESPACES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,6}[a-z0-9])?", fullmatch=True)
PIECES = st.sampled_from(
    ["{{ name }}", "{{ namespace }}", "{{ name | upper }}", "{{ namespaceLabels.stage }}", "{{ namespace[:2] }}", "{{ class }}",
     "{{ name ~ namespace }}", "-", ".", "/", "a-", "_x", "{% if name %}y{% endif %}"]
)  # fmt: skip


def parts(template: str) -> unique_names.Parts:
    return unique_names.parts_of(template, "standard", "here")


def written(template: str, example: Example) -> str:
    # A label is the namespace's own: whoever has the namespace has the label.
    stage = {"stage": f"s{len(example.namespace) % 2}.a-"}
    return naming.render(
        template, naming.TemplateValues(example.namespace, example.name, "standard", "here", stage)
    )


def tells_apart(*templates: str) -> bool:
    return unique_names.tells_apart([parts(one) for one in templates])


@pytest.mark.parametrize(
    "templates",
    [
        ["{{ name }}.{{ namespace }}.mlflow.example.com"],
        ["{{ namespace }}.{{ name }}"],
        ["ml-{{ name }}-x.{{ namespace }}-y.example.com"],
        ["arn:aws:iam::123456789012:role/mlflow-{{ namespace }}.{{ name }}"],
        ["{{ name | upper }}_{{ namespace }}"],
        ["{{ name }}.{{ namespace }}.{{ namespaceLabels.stage }}.example.com"],
        ["{{ namespaceLabels.stage }}{{ name }}.{{ namespace }}"],
        ["{{ name }}-{{ namespace }}.{{ namespace }}"],
        ["{{ name ~ '.' ~ namespace }}.{{ class }}-{{ clusterName }}"],
        ["{{ name }}.{{ namespace }}{{ name | length }}"],
        ["{{ namespace }}.example.com", "/{{ name }}"],
        ["mlflow.example.com", "/{{ namespace }}/{{ name }}"],
        ["{{ name }}-{{ namespace }}.example.com", "/{{ name }}"],
    ],
    ids=str,
)
def test_borders_that_no_name_can_hold_are_a_proof(templates: list[str]) -> None:
    assert tells_apart(*templates)


@pytest.mark.parametrize(
    "templates",
    [
        ["{{ name }}-{{ namespace }}"],
        ["{{ namespace }}-{{ name }}.example.com"],
        ["{{ namespace }}--{{ name }}"],
        ["{{ name }}-of-{{ namespace }}"],
        ["{{ name }}{{ namespace }}"],
        ["{{ name }}"],
        ["{{ namespace }}"],
        ["mlflow.example.com", "/"],
        ["{{ namespace }}.example.com", "/mlflow"],
        ["{{ name }}-{{ namespace }}", "/{{ class }}"],
    ],
    ids=str,
)
def test_what_is_ambiguous_is_shown_on_two_servers(templates: list[str]) -> None:
    assert not tells_apart(*templates)
    found = unique_names.same_names(
        lambda example: tuple(written(one, example) for one in templates), [parts(one) for one in templates]
    )
    assert found
    one, other, names = found
    assert one != other
    assert [tuple(written(template, each) for template in templates) for each in (one, other)] == [names] * 2


@pytest.mark.parametrize(
    "template",
    [
        "{{ name }}.{{ namespace[:3] }}",
        "{{ name | replace('-', '') }}.{{ namespace }}",
        "{{ name | length }}.{{ namespace }}",
        "{{ name }}.{{ namespaceLabels.team }}",
        "{% if name == 'a' %}b{% else %}{{ name }}{% endif %}.{{ namespace }}",
        "{{ name }}{{ namespaceLabels.stage }}-{{ namespace }}",
    ],
)
def test_what_cannot_be_proved_counts_as_ambiguous(template: str) -> None:
    assert not tells_apart(template)


def test_within_one_namespace_the_name_is_enough() -> None:
    known = frozenset({NAMESPACE})
    assert unique_names.tells_apart([parts("{{ namespace }}-{{ name }}-s3")], known=known)
    assert not unique_names.tells_apart([parts("{{ namespace }}-s3")], known=known)


@settings(max_examples=300)
@given(
    st.lists(st.lists(PIECES, min_size=1, max_size=6).map("".join), min_size=1, max_size=2),
    st.builds(Example, NAMES, NAMESPACES),
    st.builds(Example, NAMES, NAMESPACES),
)
def test_what_is_proved_holds(templates: Sequence[str], one: Example, other: Example) -> None:
    assert (
        one == other
        or not tells_apart(*templates)
        or [written(template, one) for template in templates]
        != [written(template, other) for template in templates]
    )


@settings(max_examples=100)
@given(st.integers(1, 6), st.text("abc-.", min_size=2, max_size=9))
def test_of_servers_that_share_letters_what_is_proved_holds(cut: int, letters: str) -> None:
    templates = [
        "{{ name }}-{{ namespace }}",
        "{{ name }}.{{ namespace }}",
        "{{ name }}x{{ namespace }}.{{ name }}",
    ]
    word = f"a{letters.replace('.', 'x')}b"
    pairs = [Example(word[:place], word[place + 1 :]) for place in range(1, len(word) - 1)]
    for template in templates:
        if tells_apart(template):
            assert len({written(template, pair) for pair in pairs}) == len(set(pairs))


@pytest.mark.parametrize(
    ("templates", "asked", "expected"),
    [
        (["{{ name }}.{{ namespace }}.example.com"], ["x.team-b.example.com"], True),
        (["{{ name }}.{{ namespace }}.example.com"], ["x.team-a.example.com"], False),
        (["{{ name }}.{{ namespace }}.example.com"], ["x.team-a-b.example.com"], True),
        (["{{ name }}.{{ namespace }}.example.com"], ["x.team.example.com"], True),
        (["{{ name }}.{{ namespace }}.example.com"], ["x.TEAM-B.example.com"], True),
        (["{{ name }}.{{ namespace }}.example.com"], ["x.example.com"], False),
        (["{{ name }}.{{ namespace }}.example.com"], ["x.team-b.example.org"], False),
        (["{{ namespaceLabels.x }}.{{ namespace }}"], ["a.b.team-a"], False),
        (["{{ namespaceLabels.x }}.{{ namespace }}"], ["a.b.team-c"], True),
        (["{{ namespace }}.{{ namespace }}"], ["b.c"], False),
        (["{{ namespace }}.{{ namespace }}"], ["b.b"], True),
        (["example.com", "/{{ namespace }}"], ["example.com", "/b"], True),
        (["example.com", "/{{ namespace }}"], ["example.com", "/team-a"], False),
    ],
)
def test_what_a_template_keeps_for_other_namespaces_is_known(
    templates: list[str], asked: list[str], *, expected: bool
) -> None:
    names = [parts(one) for one in templates]
    assert unique_names.may_belong_elsewhere(names, asked, "team-a") is expected


@given(NAMESPACES, st.builds(Example, NAMES, NAMESPACES))
def test_every_name_of_another_namespace_is_kept_for_it(own: str, other: Example) -> None:
    assume(other.namespace != own)
    template = "{{ name }}.{{ namespace }}.example.com"
    assert unique_names.may_belong_elsewhere([parts(template)], [written(template, other)], own)
    assert not unique_names.may_belong_elsewhere(
        [parts(template)], [written(template, other)], other.namespace
    )
