"""Makes, as a tenant, things of its own that are called like those of PostgreSQL, and notices when one of them is used."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import product

import psycopg2

Connection = psycopg2.extensions.connection

COMMON_TYPES = ("text", "name", "oid", "int4", "int8", "bool", '"char"', "json")
"""What our statements compare and pass on; an exact match of these beats a function for any type."""

CANARY = """
CREATE TABLE public.canary (who text);
GRANT INSERT ON public.canary TO PUBLIC;
CREATE FUNCTION public.caught() RETURNS pg_catalog.bool LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    INSERT INTO public.canary VALUES (session_user || ' as ' || current_user);
    RETURN true;
END $$
"""
BODY = "LANGUAGE plpgsql AS $$ BEGIN PERFORM public.caught(); RETURN NULL; END $$"

_FUNCTIONS = """
SELECT DISTINCT p.proname, p.prokind = 'a', p.proretset, pg_catalog.format_type(p.prorettype, NULL),
       ARRAY(SELECT pg_catalog.format_type(t, NULL) FROM pg_catalog.unnest(p.proargtypes) AS t)
FROM pg_catalog.pg_proc AS p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (%s) AND p.prokind IN ('f', 'a')
"""
_OPERATORS = """
SELECT o.oprname, pg_catalog.format_type(o.oprleft, NULL), pg_catalog.format_type(o.oprright, NULL),
       pg_catalog.format_type(o.oprresult, NULL)
FROM pg_catalog.pg_operator AS o WHERE o.oprname = ANY (%s) AND o.oprkind = 'b'
"""
_RELATIONS = """
SELECT relname FROM pg_catalog.pg_class
WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') AND relname = ANY (%s)
"""
_TYPES = """
SELECT typname FROM pg_catalog.pg_type
WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typelem = 0 AND typname = ANY (%s)
"""


def make_shadows(connection: Connection, statements: Iterable[str], schema: str) -> int:
    """Shadow every function, aggregate, operator, type and relation whose name occurs in the statements; say how many."""
    text = "\n".join(statements)
    words = sorted(set(re.findall(r"[a-z_][a-z0-9_]*", text)))
    operators = sorted(set(re.findall(r"[-+*/<>=~!@#%^&|`?]+", text)))
    with connection.cursor() as cursor:  # or the shadows are used while they are made
        cursor.execute("SET search_path = pg_catalog, pg_temp")
    made = 0
    # Types come last: after them, a bare name of a type might mean the tenant's.
    definitions = (
        *_functions(connection, words, schema),
        *_operators(connection, operators, schema),
        *_relations(connection, words, schema),
        *_types(connection, words, schema),
    )
    for definition in definitions:
        # Not everything can be shadowed: pseudo-types, signatures that are there already.
        with connection.cursor() as cursor, suppress(psycopg2.Error):
            cursor.execute(definition)
            made += 1
    return made


def _functions(connection: Connection, words: list[str], schema: str) -> Iterator[str]:
    found = _asked(connection, _FUNCTIONS, words)
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for number, (name, is_aggregate, is_set, result, arguments) in enumerate(found):
        for variant, types in enumerate(_signatures(arguments)):
            if (name, types) in seen:
                continue
            seen.add((name, types))
            if is_aggregate:
                step = f'{schema}."step_{number}_{variant}"'
                yield f"CREATE FUNCTION {step}({', '.join(('text', *types))}) RETURNS text {BODY}"
                yield f"CREATE AGGREGATE {schema}.\"{name}\"({', '.join(types) or '*'}) (SFUNC = {step}, STYPE = text, INITCOND = '')"
                continue
            returned = f"SETOF {result}" if is_set else result
            body = BODY.replace("RETURN NULL", "RETURN") if is_set else BODY
            yield f'CREATE FUNCTION {schema}."{name}"({", ".join(types)}) RETURNS {returned} {body}'


def _signatures(arguments: list[str]) -> Iterator[tuple[str, ...]]:
    """The signature itself, and those of which an exact match would be the better one."""
    yield tuple(arguments)
    if any("any" in one for one in arguments):
        yield ("VARIADIC text[]",)
        yield ("VARIADIC anyarray",)
        for one in COMMON_TYPES:
            yield tuple(
                one if "any" in argument and "[]" not in argument else argument for argument in arguments
            )
    if 1 <= len(arguments) <= 2:
        yield from product(COMMON_TYPES, repeat=len(arguments))


def _operators(connection: Connection, names: list[str], schema: str) -> Iterator[str]:
    found = _asked(connection, _OPERATORS, names)
    exact = [(name, left, right, result) for name, left, right, result in found]
    better = [
        (name, left, right, "bool")
        for name in sorted({name for name, *_ in found})
        for left, right in (
            *product(COMMON_TYPES, repeat=2),
            ("anyelement", "anyelement"),
            ("name", "name[]"),
        )
    ]
    for number, (name, left, right, result) in enumerate(exact + better):
        function = f'{schema}."operator_{number}"'
        yield f"CREATE FUNCTION {function}({left}, {right}) RETURNS {result} {BODY}"
        yield f"CREATE OPERATOR {schema}.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = {function})"


def _relations(connection: Connection, words: list[str], schema: str) -> Iterator[str]:
    for (name,) in _asked(connection, _RELATIONS, words):
        everything = f'SELECT * FROM pg_catalog."{name}" WHERE public.caught()'  # noqa: S608
        yield f'CREATE VIEW {schema}."{name}" AS {everything}'
        yield f'GRANT SELECT ON {schema}."{name}" TO PUBLIC'


def _types(connection: Connection, words: list[str], schema: str) -> Iterator[str]:
    for (name,) in _asked(connection, _TYPES, words):
        yield f'CREATE DOMAIN {schema}."{name}" AS pg_catalog."{name}" CHECK (public.caught())'


def _asked(connection: Connection, query: str, names: list[str]) -> list[tuple]:  # type: ignore[type-arg]
    with connection.cursor() as cursor:
        cursor.execute(query, (names,))
        return cursor.fetchall()
