"""SQL that can be printed without a connection, and the steps that a plan consists of."""

from dataclasses import dataclass
from typing import Final

from psycopg2.extensions import connection, cursor, encrypt_password
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from tracking_operator.stores.postgres.observe import Grant

VERIFIER_SHOWN: Final = "'<verifier>'"


class Password(Composable):
    """A login's password, which is sent as what PostgreSQL stores in its place, and never shown.

    PostgreSQL takes a SCRAM-SHA-256 verifier as it is, so that the password itself never reaches the server, its log or
    pg_stat_statements. libpq makes it, with the number of iterations that the server has set.
    """

    def __init__(self, password: str, login: str) -> None:
        super().__init__((password, login))
        self._password = password
        self._login = login

    def as_string(self, context: connection | cursor) -> str:
        """What is sent; each time with another salt."""
        verifier = encrypt_password(self._password, self._login, context, "scram-sha-256")
        return Literal(verifier).as_string(context)

    def __repr__(self) -> str:
        return "Password()"


@dataclass(frozen=True)
class Step:
    """One unit of work that a crash may separate from the next: a statement, or a transaction of several.

    ``what`` says it in words. It is carried out in the maintenance database unless ``in_database`` names
    another one. ``slow`` marks the statements that copy or remove files. With ``grants_after`` the
    database's privileges are read back before anything else is done, and must be exactly these.
    """

    what: str
    statements: tuple[Composable, ...]
    in_database: str | None = None
    slow: bool = False
    grants_after: frozenset[Grant] | None = None

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
        case Password():
            return VERIFIER_SHOWN
        case Literal():
            value = statement.wrapped
            return f"'{_doubled(value, chr(39))}'" if isinstance(value, str) else str(value)
        case _:
            raise TypeError(f"a plan holds no {type(statement).__name__}")


def _doubled(text: str, quote: str) -> str:
    return text.replace(quote, quote * 2)
