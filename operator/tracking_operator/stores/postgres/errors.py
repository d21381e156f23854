"""What to say when PostgreSQL or libpq do not do as asked: what happened, and what the platform team can do.

What an answer means, ``store_answers.py`` tells; a text that it does not know, as of a server with other ``lc_messages``,
is ``StoreUnreachable`` with the server's own words.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import psycopg2

from tracking_operator.api.conditions import Reason, reason_of
from tracking_operator.failures import CONFLICT_RETRY_SECONDS, Failure, failure_for
from tracking_operator.foreign_text import one_line
from tracking_operator.store_answers import Answer, database_answer
from tracking_operator.stores.postgres.database_server import Login, PostgresServer

LONGEST_ANSWER = 300


@dataclass(frozen=True)
class Attempt:
    """What was tried, for the sentence that says why it failed."""

    server: PostgresServer
    login: Login
    doing: str
    database: str


class TimedOut(Exception):
    """The server did not answer in time; ``seconds`` is how long that was."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s")
        self.seconds = seconds


class TooMuch(Exception):
    """The server answered with more than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"it answered with more than {limit // 1024} KiB")
        self.limit = limit


def failure_from(error: psycopg2.Error | TimedOut | TooMuch, attempt: Attempt) -> Failure:
    """Say which failure an error is. The text never holds a password or a statement."""
    start = f"PostgreSQL at {attempt.server} did not {attempt.doing}"
    if isinstance(error, TimedOut):
        return failure_for(Reason.STORE_UNREACHABLE, f"{start}: {error}. {_CHECK_NETWORK}")
    if isinstance(error, TooMuch):
        return failure_for(Reason.ANSWER_TOO_LARGE, f"{start}: {error}, and was not read on. {_LOOK_INSIDE}")
    said, code = answer_of(error), error.pgcode or ""
    answer = database_answer(code, said)
    if answer is None:
        return failure_for(
            Reason.STORE_UNREACHABLE, f"{start}: {said}{code and f' ({code})'}. {_CHECK_NETWORK}"
        )
    remedy = _REMEDIES.get(answer)
    return failure_for(
        _reason_of(answer, attempt),
        f"{start}: {said}. {remedy(attempt) if remedy else _CHECK_NETWORK}",
        retry_after=CONFLICT_RETRY_SECONDS if answer is Answer.CHANGED_MEANWHILE else None,
    )


def answer_of(error: psycopg2.Error) -> str:
    """The server's sentence without its surroundings: one line, no statement, no full stop."""
    text = error.diag.message_primary or str(error)
    text = re.sub(r"connection to server at .*? failed: ", "", text)
    text = re.sub(r'(root certificate file) "[^"]*"', r"\1", text)
    text = re.sub(r"\b(FATAL|ERROR):\s+", "", text)
    text = text.partition("\nDETAIL:")[0]
    return one_line(text, LONGEST_ANSWER).rstrip(".") or "the connection ended without a word"


def _reason_of(answer: Answer, attempt: Attempt) -> Reason:
    is_gone = answer in (Answer.NO_DATABASE, Answer.INVALID)
    if is_gone and attempt.database == attempt.server.maintenance_database:
        return Reason.INVALID_SPEC
    return reason_of(answer.reason_for_admin)


NAME_THE_SERVER: Final = "A connection pooler is in between: name the server itself in postgres.host and postgres.port of the class."

_GOES_ON = "The operator goes on trying."
_LOOK_INSIDE = f"Look at what was put into the database there. {_GOES_ON}"
_CHECK_NETWORK = f"Check the server, the host and port in the class, firewall and NetworkPolicy. {_GOES_ON}"


def _where_there_is_no_database(attempt: Attempt) -> str:
    if attempt.database == attempt.server.maintenance_database:
        return "Name an existing one in postgres.maintenanceDatabase of the class."
    return "Restore it under this name, or let the server begin with another store."


_REMEDIES: Final[Mapping[Answer, Callable[[Attempt], str]]] = {
    Answer.LOGIN_REFUSED: lambda attempt: (
        f"Correct username and password in {attempt.login.source}, or the role's password in PostgreSQL."
    ),
    Answer.NOT_ADMITTED: lambda attempt: (
        f"Admit {attempt.login.username} in the server's pg_hba.conf; if it admits encrypted connections "
        "only, set sslMode in the class to verify-full."
    ),
    Answer.HOST_NOT_FOUND: lambda _: f"Correct postgres.host in the class, or the DNS. {_GOES_ON}",
    Answer.TLS_FAILED: lambda attempt: (
        f"sslMode is {attempt.server.ssl_mode}: the certificate must be for the host "
        f"{attempt.server.host} (verify-full) and signed by the CA in caConfigMapRef."
    ),
    Answer.SETTINGS_DROPPED: lambda _: NAME_THE_SERVER,
    Answer.NO_TRANSACTIONS: lambda _: NAME_THE_SERVER,
    Answer.TOO_MANY_CONNECTIONS: lambda _: (
        f"Raise max_connections of the server or the connectionLimit, or end connections. {_GOES_ON}"
    ),
    Answer.FULL: lambda _: f"Give the database server more disk space. {_GOES_ON}",
    Answer.NO_DATABASE: _where_there_is_no_database,
    Answer.NOT_PERMITTED: lambda attempt: (
        f"As a superuser or the owner, give {attempt.login.username} what it lacks: an admin login needs "
        "CREATEROLE and CREATEDB, CONNECT on the maintenance database, and ADMIN on roles that others created."
    ),
    Answer.CHANGED_MEANWHILE: lambda _: f"It was changed at the same moment. {_GOES_ON}",
    Answer.IN_USE: lambda _: f"End what uses it, as the database's owner or a superuser. {_GOES_ON}",
    Answer.READ_ONLY: lambda _: (
        f"The server is a standby: name the primary in postgres.host of the class. {_GOES_ON}"
    ),
    Answer.BUSY: lambda _: f"The server is overloaded, or something holds a lock. {_GOES_ON}",
    Answer.CLOSED: lambda _: (
        f"It is being created or deleted, or its owner has closed it: ALTER DATABASE … ALLOW_CONNECTIONS true opens it. "
        f"{_GOES_ON}"
    ),
    Answer.INVALID: _where_there_is_no_database,
    Answer.FAILED: lambda _: f"Look into the server's log. {_GOES_ON}",
}
