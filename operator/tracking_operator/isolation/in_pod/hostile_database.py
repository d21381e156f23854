"""What an owner of a database can leave in it for whoever comes after: shadows of what the operator's statements use."""

from contextlib import suppress
from typing import Final

with suppress(ImportError):  # as in databases.py
    import psycopg2

from tracking_operator.isolation.attempts import Refused
from tracking_operator.isolation.in_pod.databases import cursor, one
from tracking_operator.isolation.in_pod.scene import Scene

CANARY: Final = """
DROP TABLE IF EXISTS public.canary CASCADE;
CREATE TABLE public.canary (who text, what text);
GRANT ALL ON public.canary TO PUBLIC;
CREATE OR REPLACE FUNCTION public.sing(what text) RETURNS void LANGUAGE sql AS
  $$INSERT INTO public.canary VALUES (current_user::text, what)$$;
"""
AGGREGATES: Final = (
    ("array_agg", "text"), ("array_agg", "name"), ("array_agg", "oid"), ("array_agg", "int4"),
    ("string_agg_of", "text"), ("min", "text"), ("max", "text"), ("bool_or", "bool"), ("bool_and", "bool"),
)  # fmt: skip
FUNCTIONS: Final = (
    ("pg_get_userbyid", "oid", "name", "'x'::name"),
    ("format", "text, text", "text", "''"),
    ("quote_ident", "text", "text", "$1"),
    ("lower", "text", "text", "$1"),
    ("shobj_description", "oid, text", "text", "''"),
    ("shobj_description", "oid, name", "text", "''"),
    ("obj_description", "oid, text", "text", "''"),
    ("has_database_privilege", "text, text, text", "bool", "true"),
    ("has_schema_privilege", "text, text, text", "bool", "true"),
    ("pg_encoding_to_char", "int4", "name", "'UTF8'::name"),
    ("current_setting", "text, bool", "text", "''"),
    ("aclexplode_of", "text", "text", "''"),
    ("coalesce_of", "text", "text", "$1"),
    ("unnest", "text[]", "text", "''"),
)
OPERATORS: Final = (("=", "name", "text"), ("=", "text", "name"), ("=", "text", "text"), ("=", "oid", "int4"),
                    ("=", "name", "unknown"), ("<>", "text", "text"), ("||", "text", "text"))  # fmt: skip
RELATIONS: Final = (
    "pg_database", "pg_roles", "pg_namespace", "pg_class", "pg_auth_members", "pg_stat_activity",
)  # fmt: skip
"""Views in public of these names; they answer only where public comes before pg_catalog."""


def plant(_scene: Scene) -> str:
    """Make a canary, and everything that could let it sing in another role's session."""
    planted = 0
    with cursor() as found:
        found.execute(CANARY)
        for statement in statements():
            try:
                found.execute(statement)
                planted += 1
            except psycopg2.Error:  # not every pair of name and type can be made on every version
                continue
        found.execute("TRUNCATE public.canary")
    return f"planted {planted}"


def statements() -> list[str]:
    """Shadows of aggregates, functions, operators and relations, and a search_path that finds them."""
    found = ["ALTER ROLE CURRENT_USER SET search_path = public, pg_catalog"]
    for name, type_ in AGGREGATES:
        found += [
            f"CREATE OR REPLACE FUNCTION public.step_{name}_{type_}(text[], {type_}) RETURNS text[] LANGUAGE plpgsql AS"
            f" $$BEGIN PERFORM public.sing('{name}'); RETURN $1 OPERATOR(pg_catalog.||) $2::pg_catalog.text; END$$",
            f"CREATE AGGREGATE public.{name}({type_})"
            f" (SFUNC = public.step_{name}_{type_}, STYPE = text[], INITCOND = '{{}}')",
        ]
    for name, arguments, result, value in FUNCTIONS:
        found.append(
            f"CREATE OR REPLACE FUNCTION public.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS"
            f" $$BEGIN PERFORM public.sing('{name}'); RETURN {value}; END$$"
        )
    for number, (symbol, left, right) in enumerate(OPERATORS):
        result = "text" if symbol == "||" else "bool"
        value = "''" if symbol == "||" else "true"
        found += [
            f"CREATE OR REPLACE FUNCTION public.compare_{number}({left}, {right}) RETURNS {result} LANGUAGE plpgsql AS"
            f" $$BEGIN PERFORM public.sing('{symbol}'); RETURN {value}; END$$",
            f"CREATE OPERATOR public.{symbol} (LEFTARG = {left}, RIGHTARG = {right},"
            f" FUNCTION = public.compare_{number})",
        ]
    return found + [f"CREATE VIEW public.{name} AS SELECT 1 AS oid" for name in RELATIONS]


def look(scene: Scene) -> str:
    """Whether the canary has sung for anybody but the team itself. Raises Refused: it has not."""
    with cursor() as found:
        found.execute(
            "SELECT pg_catalog.count(*) FROM public.canary"
            " WHERE NOT (who OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.text[]))",
            ([scene.own.role, f"{scene.own.role}_a", f"{scene.own.role}_b"],),
        )
        sung = int(one(found))
    if not sung:
        raise Refused("the canary is silent")
    return f"the canary has sung {sung} times for another role"


HUGE: Final = """
DROP TABLE IF EXISTS public.alembic_version CASCADE;
DROP VIEW IF EXISTS public.alembic_version;
CREATE VIEW public.alembic_version AS
  SELECT pg_catalog.repeat('x', 1000000)::pg_catalog.varchar AS version_num FROM pg_catalog.generate_series(1, 600)
"""


def flood(_scene: Scene) -> str:
    """Put a view that answers 600 MB where the operator looks for one short row."""
    with cursor() as found:
        found.execute(HUGE)
    return "replaced alembic_version"


def drain(_scene: Scene) -> str:
    """Take the view away again."""
    with cursor() as found:
        found.execute("DROP VIEW IF EXISTS public.alembic_version")
    return "took the view away"


def exists(scene: Scene) -> str:
    """Whether the other side's database is there, by the catalog that everybody may read. Raises Refused: it is."""
    with cursor() as found:
        found.execute(
            "SELECT 1 FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) %s",
            (scene.other.database,),
        )
        if found.fetchone():
            raise Refused("the database is still there")
    return "the database is gone"
