"""Where the stores say, by their marks, that the data of a server is which has no placement (decision 0022)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid


@dataclass(frozen=True)
class Found:
    """What carries a server's mark; None where nothing does."""

    database: str | None = None
    prefix: str | None = None


NOTHING_FOUND: Final = Found()


def the_database(marked: Sequence[str]) -> str | None:
    """The database that carries a server's mark; None if none does. Raises Invalid: several do."""
    return _the_only(marked, "databases of the class's PostgreSQL")


def the_prefix(marked: Sequence[str]) -> str | None:
    """The prefix that carries a server's mark; None if none does. Raises Invalid: several do."""
    return _the_only(marked, "prefixes in the class's bucket")


def _the_only(marked: Sequence[str], where: str) -> str | None:
    if len(marked) > 1:
        raise Invalid(
            Reason.AMBIGUOUS_MARKS,
            f"It is not recorded where this server's data is, and several {where} carry its mark: {', '.join(marked)}. Nothing "
            "was made or changed: ask the platform team to remove the marks of those that do not hold its data.",
        )
    return marked[0] if marked else None
