"""Names of databases and roles: checked before anything quotes them.

PostgreSQL cuts longer names silently, so two names could become one database.
"""

from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid

MAX_BYTES: Final = 63
"""NAMEDATALEN - 1 of every build of PostgreSQL that anybody offers."""

_RESERVED: Final = frozenset({"public", "none"})
"""Names that CREATE ROLE refuses and GRANT takes for something else, quoted or not."""

_LONGEST_QUOTE: Final = 100


def checked_identifier(name: str) -> str:
    """Return ``name`` if it can be the name of a database and of a role.

    Raises:
        Invalid: it is empty, too long, reserved, or holds characters that do not print.

    """
    if not name:
        raise _unusable(name, "it is empty")
    if not name.isprintable():
        raise _unusable(name, "it holds characters that do not print")
    if len(name.encode()) > MAX_BYTES:
        raise _unusable(name, f"it takes {len(name.encode())} bytes, and PostgreSQL keeps {MAX_BYTES}")
    if name in _RESERVED or name.startswith("pg_"):
        raise _unusable(name, "PostgreSQL reserves it")
    return name


def _unusable(name: str, why: str) -> Invalid:
    shown = ascii(name if len(name) <= _LONGEST_QUOTE else name[:_LONGEST_QUOTE] + "…")
    return Invalid(
        Reason.INVALID_SPEC,
        f"{shown} cannot name a database and its roles: {why}. Change naming.database of the class.",
    )
