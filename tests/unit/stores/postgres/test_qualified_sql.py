"""Every name in our SQL has its schema: a tenant can make functions, operators, types and tables of any name (decision 0019)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracking_operator.stores import postgres as backend_store

FOLDER = Path(backend_store.__path__[0])

QUERY_WORDS = re.compile(r"\b(SELECT|FROM|JOIN|WHERE|CASE)\b|pg_catalog|::")
UTILITY = re.compile(
    r"^\s*(ALTER|CREATE|DROP|GRANT|REVOKE|COMMENT|LOCK|BEGIN|COMMIT|ROLLBACK|SHOW|SET (?!TRANSACTION))",
    re.IGNORECASE,
)
"""What names roles, databases and settings, and looks no function or operator up."""

KEYWORDS_BEFORE_A_PARENTHESIS = {
    "and", "any", "array", "as", "case", "coalesce", "else", "exists", "filter", "from", "in", "not", "on", "operator", "or", "select",
    "then", "values", "when", "where",
}  # fmt: skip
UNQUALIFIED_FUNCTION = re.compile(r"(?<![.\w\"])([A-Za-z_]\w*)\s*\(")
UNQUALIFIED_OPERATOR = re.compile(r"[-+*/<>=~!@#%^&|?]+")
UNQUALIFIED_CAST = re.compile(r"::(?!pg_catalog\.)\S*")
UNQUALIFIED_RELATION = re.compile(r"\b(?:FROM|JOIN)\s+(?:ONLY\s+)?(?!pg_catalog\.|public\.|\(|\{|ONLY)\S+")
LOOKS_AN_OPERATOR_UP = re.compile(
    r"\bIN\s*\(|\bBETWEEN\b|\bI?LIKE\b|\bSIMILAR\b|\bNULLIF\b|\bUSING\b|\bNATURAL\b|\bDISTINCT\s+FROM\b|\bCASE\s+(?!WHEN)\S+"
)


def violations(sql: str) -> list[str]:
    """What a statement, or a part of one, looks up by a bare name."""
    if UTILITY.search(sql) or not QUERY_WORDS.search(sql):
        return []
    text = re.sub(r"'(?:[^']|'')*'", "''", sql)
    text = re.sub(r"%\(\w+\)s", "0", text)
    found = [
        one
        for pattern in (UNQUALIFIED_CAST, UNQUALIFIED_RELATION, LOOKS_AN_OPERATOR_UP)
        for one in pattern.findall(text)
    ]
    text = re.sub(r"OPERATOR\(pg_catalog\.[^)]+\)", " ", text)
    text = re.sub(r"pg_catalog\.count\(\*\)|(?<![\w)])-\d+", "0", text)
    found += UNQUALIFIED_OPERATOR.findall(text)
    found += [
        one for one in UNQUALIFIED_FUNCTION.findall(text) if one.lower() not in KEYWORDS_BEFORE_A_PARENTHESIS
    ]
    return found


def texts(source: str) -> Iterator[str]:
    """Every text in a module that is not a docstring; what is put in by an f-string is checked by itself."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in documentation | parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "0" for one in node.values)


def is_sql(text: str) -> bool:
    return bool(re.search(r"\bSELECT\b[\s\S]+\b(FROM|current_user|pg_catalog)\b|pg_catalog\.", text))


@pytest.mark.parametrize("module", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_every_name_has_its_schema(module: Path) -> None:
    found = {text: bad for text in texts(module.read_text()) if is_sql(text) and (bad := violations(text))}
    assert found == {}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT coalesce(array_agg(acl.privilege_type), '{}') FROM pg_catalog.pg_namespace AS n",
        "SELECT r.oid FROM pg_roles AS r",
        "SELECT r.oid FROM pg_catalog.pg_roles AS r JOIN pg_database AS d ON true",
        "SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = 'x'::pg_catalog.name",
        "SELECT 'pg_catalog.pg_class'::regclass FROM pg_catalog.pg_roles",
        "SELECT 1 FROM pg_catalog.pg_roles AS r WHERE r.rolname IN ('a')",
        "SELECT 1 FROM pg_catalog.pg_roles AS r WHERE r.rolname LIKE 'a'",
        "SELECT CASE r.rolname WHEN 'a' THEN 1 END FROM pg_catalog.pg_roles AS r",
        "SELECT 1 FROM pg_catalog.pg_roles AS r JOIN pg_catalog.pg_database AS d USING (oid)",
        "SELECT pg_catalog.to_jsonb(m) ->> 'set_option' FROM pg_catalog.pg_auth_members AS m",
    ],
)
def test_a_bare_name_is_found(sql: str) -> None:
    assert is_sql(sql)
    assert violations(sql)
