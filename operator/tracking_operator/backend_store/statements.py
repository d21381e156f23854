"""SQL that can be printed without a connection, and the steps that a plan consists of."""

from dataclasses import dataclass
from typing import Final

from psycopg2.extensions import connection, cursor
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

VERIFIER_SHOWN: Final = "'<verifier>'"


class Confidential(Composable):
    """A literal that is sent but never shown."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self._value = value

    def as_string(self, context: connection | cursor) -> str:
        """What is sent."""
        return Literal(self._value).as_string(context)

    def __repr__(self) -> str:
        return "Confidential()"


@dataclass(frozen=True)
class Step:
    """One unit of work that a crash may separate from the next: a statement, or a transaction of several.

    ``what`` says it in words. It is carried out in the maintenance database unless ``in_database`` names
    another one. ``slow`` marks the statements that copy or remove files. After a step with
    ``proves_grants`` the database's privileges are read back before anything else is done. With
    ``until_none`` the statement counts something, and is repeated until it counts nothing.
    """

    what: str
    statements: tuple[Composable, ...]
    in_database: str | None = None
    slow: bool = False
    proves_grants: bool = False
    until_none: bool = False

    @property
    def statement(self) -> Composable:
        """The step as one message to the server; several statements are one transaction."""
        if len(self.statements) == 1:
            return self.statements[0]
        return SQL("; ").join([SQL("BEGIN"), *self.statements, SQL("COMMIT")])

    def __str__(self) -> str:
        return text_of(self.statement)


def text_of(statement: Composable) -> str:
    """Show a statement as a person would type it, without what is confidential."""
    match statement:
        case Composed():
            return "".join(text_of(part) for part in statement.seq)
        case SQL():
            return statement.string
        case Identifier():
            return ".".join(f'"{_doubled(name, chr(34))}"' for name in statement.strings)
        case Confidential():
            return VERIFIER_SHOWN
        case Literal():
            value = statement.wrapped
            return f"'{_doubled(value, chr(39))}'" if isinstance(value, str) else str(value)
        case _:
            raise TypeError(f"a plan holds no {type(statement).__name__}")


def explain(steps: tuple[Step, ...]) -> str:
    """Print a plan: one step per line."""
    return "\n".join(f"{step.what}: {step};" for step in steps)


def _doubled(text: str, quote: str) -> str:
    return text.replace(quote, quote * 2)
