"""Kubernetes objects with places for Helm in them: a place is a word in the object, and a Go template in the text.

A word is made of letters and digits only, so that YAML neither quotes nor breaks it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from tracking_operator.api.crds import as_yaml

Object = dict[str, Any]
"""A Kubernetes object, or a part of one."""

_OPEN, _CLOSE = "HelmPlace", "EndOfPlace"
_PLACE: Final = re.compile(f"{_OPEN}([0-9a-f]*)x([0-9a-f]*){_CLOSE}")
_LINE: Final = re.compile(rf"^(?P<indent> *)(?:[-?] )?{_PLACE.pattern}(?:\n? *: null)?$", re.MULTILINE)
"""An entry of a list, or a key without a value, which YAML writes on two lines where it is long."""
_BLOCK: Final = re.compile(rf"^(?P<indent> *(?:- )?)(?P<key>[\w./-]+): {_PLACE.pattern}$", re.MULTILINE)
_BEGINNING_OF_A_BLOCK: Final = "toYaml "


def place(template: str, owner: str = "") -> str:
    """The word for a template: as a value, in a text, as an entry of a list, or (with any value) as a key of a mapping.

    As an entry or a key it becomes a line of its own. ``owner`` tells keys apart that have the same template.
    """
    return f"{_OPEN}{template.encode().hex()}x{owner.encode().hex()}{_CLOSE}"


def value(expression: str) -> str:
    """The word for what an expression gives: ``.Values.replicas``."""
    return place(f"{{{{ {expression} }}}}")


def block(expression: str) -> str:
    """The word for a mapping or a list, as the value of a key, indented as it has to be there."""
    return place(f"{_BEGINNING_OF_A_BLOCK}{expression}")


def entries(expression: str) -> str:
    """The word for the entries that a list gets beside its own."""
    return place(f"{{{{- with {expression} }}}}{{{{- toYaml . | nindent INDENT }}}}{{{{- end }}}}")


def if_so(condition: str, fields: Mapping[str, object]) -> Object:
    """Fields of a mapping that are there only if the condition holds."""
    owner = " ".join(fields)
    return {place(f"{{{{- if {condition} }}}}", owner): None, **fields, place("{{- end }}", owner): None}


def entries_if(condition: str, *of_a_list: object) -> list[object]:
    """Entries of a list that are there only if the condition holds."""
    return [place(f"{{{{- if {condition} }}}}"), *of_a_list, place("{{- end }}")]


def as_template(given: Object) -> str:
    """The text of a template: YAML with Go templates at the places, and all other braces as they are."""
    text = as_yaml(given).replace("{{", value('"{{"'))
    text = _BLOCK.sub(_as_block, text)
    text = _LINE.sub(lambda found: found["indent"] + _template(found, len(found["indent"])), text)
    return _PLACE.sub(lambda found: bytes.fromhex(found[1]).decode(), text)


def _as_block(found: re.Match[str]) -> str:
    expression = bytes.fromhex(found[3]).decode()
    if not expression.startswith(_BEGINNING_OF_A_BLOCK):
        return found[0]
    indent = len(found["indent"])
    return f"{found['indent']}{found['key']}:\n{' ' * indent}  {{{{- {expression} | nindent {indent + 2} }}}}"


def _template(found: re.Match[str], indent: int) -> str:
    return bytes.fromhex(found[2]).decode().replace("INDENT", str(indent))
