"""Objects become templates: braces of ours stay what they are, and places become Go templates at the right depth."""

from dev.chart.markup import as_template, block, entries, entries_if, if_so, value
from dev.chart.values import values_schema


def test_braces_in_a_text_are_no_template() -> None:
    assert as_template({"a": "x {{ name }}"}) == 'a: x {{ "{{" }} name }}\n'


def test_a_value_stands_in_a_text_or_alone() -> None:
    assert (
        as_template({"a": value(".b"), "c": f"'{value('.d')}' + 1"}) == "a: {{ .b }}\nc: '''{{ .d }}'' + 1'\n"
    )


def test_a_block_is_indented_below_its_key() -> None:
    given = {"a": [{"b": block(".Values.b"), "c": 1}]}
    assert as_template(given) == "a:\n- b:\n    {{- toYaml .Values.b | nindent 4 }}\n  c: 1\n"


def test_fields_are_there_on_a_condition_however_long_it_is() -> None:
    condition = f".Values.{'long' * 50}"
    given = {"a": if_so(condition, {"b": 1}) | if_so(condition, {"c": 2})}
    expected = f"a:\n  {{{{- if {condition} }}}}\n  b: 1\n  {{{{- end }}}}\n"
    assert as_template(given) == expected + expected.removeprefix("a:\n").replace("b: 1", "c: 2")


def test_entries_of_a_list_are_there_on_a_condition_or_are_added() -> None:
    given = {"a": ["x", *entries_if(".b", "y"), entries(".c")]}
    added = "{{- with .c }}{{- toYaml . | nindent 0 }}{{- end }}"
    assert as_template(given) == f"a:\n- x\n{{{{- if .b }}}}\n- y\n{{{{- end }}}}\n{added}\n"


def test_no_name_that_is_not_known_is_let_through_at_any_depth() -> None:
    def open_parts(path: str, schema: object) -> list[str]:
        if not isinstance(schema, dict):
            return []
        is_open = "properties" in schema and schema.get("type") == "object" and schema["additionalProperties"]
        inner = [part for name, each in schema.items() for part in open_parts(f"{path}/{name}", each)]
        return [*([path] if is_open else []), *inner]

    assert open_parts("", values_schema()) == []
