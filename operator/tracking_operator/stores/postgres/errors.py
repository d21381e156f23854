"""What PostgreSQL and libpq answer when they do not do as asked, and which kind of failure that is.

While a connection is being made libpq tells no SQLSTATE, only a text; afterwards the SQLSTATE decides.
The texts are those of PostgreSQL 15 to 18 in English; a server with other ``lc_messages`` falls back to
``StoreUnreachable`` with its own words.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import psycopg2

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import CONFLICT_RETRY_SECONDS, Failure, Invalid, Unavailable, Waiting
from tracking_operator.foreign_text import one_line
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


@dataclass(frozen=True)
class _Rule:
    """A failure for SQLSTATEs, and for patterns of what is said before there is one."""

    codes: tuple[str, ...]
    signs: tuple[str, ...]
    failure: Callable[[str, Attempt], Failure]


def failure_from(error: psycopg2.Error | TimedOut | TooMuch, attempt: Attempt) -> Failure:
    """Say which kind of failure an error is. The text never holds a password or a statement."""
    start = f"PostgreSQL at {attempt.server} did not {attempt.doing}"
    if isinstance(error, TimedOut):
        return Unavailable(Reason.STORE_UNREACHABLE, f"{start}: {error}. {_CHECK_NETWORK}")
    if isinstance(error, TooMuch):
        return Unavailable(Reason.ANSWER_TOO_LARGE, f"{start}: {error}, and was not read on. {_LOOK_INSIDE}")
    answer = answer_of(error)
    code = error.pgcode or ""
    for rule in _RULES:
        if (code and code in rule.codes) or (
            not code and any(re.search(sign, answer) for sign in rule.signs)
        ):
            return rule.failure(f"{start}: {answer}.", attempt)
    return Unavailable(
        Reason.STORE_UNREACHABLE, f"{start}: {answer}{code and f' ({code})'}. {_CHECK_NETWORK}"
    )


def answer_of(error: psycopg2.Error) -> str:
    """The server's sentence without its surroundings: one line, no statement, no full stop."""
    text = error.diag.message_primary or str(error)
    text = re.sub(r"connection to server at .*? failed: ", "", text)
    text = re.sub(r'(root certificate file) "[^"]*"', r"\1", text)
    text = re.sub(r"\b(FATAL|ERROR):\s+", "", text)
    text = text.partition("\nDETAIL:")[0]
    return one_line(text, LONGEST_ANSWER).rstrip(".") or "the connection ended without a word"


_GOES_ON = "The operator goes on trying."
_LOOK_INSIDE = f"Look at what was put into the database there. {_GOES_ON}"
_CHECK_NETWORK = f"Check the server, the host and port in the class, firewall and NetworkPolicy. {_GOES_ON}"


def _login_refused(text: str, attempt: Attempt) -> Failure:
    return Invalid(
        Reason.LOGIN_REFUSED,
        f"{text} Correct username and password in {attempt.login.source}, or the role's password in PostgreSQL.",
    )


def _not_admitted(text: str, attempt: Attempt) -> Failure:
    return Invalid(
        Reason.LOGIN_REFUSED,
        f"{text} Admit {attempt.login.username} in the server's pg_hba.conf; if it admits encrypted connections "
        "only, set sslMode in the class to verify-full.",
    )


def _host_not_found(text: str, attempt: Attempt) -> Failure:
    return Unavailable(
        Reason.HOST_NOT_FOUND, f"{text} Correct postgres.host in the class, or the DNS. {_GOES_ON}"
    )


def _tls_failed(text: str, attempt: Attempt) -> Failure:
    return Invalid(
        Reason.TLS_FAILED,
        f"{text} sslMode is {attempt.server.ssl_mode}: the certificate must be for the host "
        f"{attempt.server.host} (verify-full) and signed by the CA in caConfigMapRef.",
    )


def _settings_dropped(text: str, attempt: Attempt) -> Failure:
    return Invalid(
        Reason.SESSION_SETTINGS_DROPPED,
        f"{text} A connection pooler is in between: name the server itself in postgres.host and postgres.port of the class.",
    )


def _too_many_connections(text: str, attempt: Attempt) -> Failure:
    return Unavailable(
        Reason.TOO_MANY_CONNECTIONS,
        f"{text} Raise max_connections of the server or the connectionLimit, or end connections. {_GOES_ON}",
    )


def _disk_full(text: str, attempt: Attempt) -> Failure:
    return Unavailable(Reason.DISK_FULL, f"{text} Give the database server more disk space. {_GOES_ON}")


def _no_database(text: str, attempt: Attempt) -> Failure:
    if attempt.database == attempt.server.maintenance_database:
        return Invalid(
            Reason.INVALID_SPEC, f"{text} Name an existing one in postgres.maintenanceDatabase of the class."
        )
    return Invalid(
        Reason.DATABASE_LOST,
        f"{text} Restore it under this name, or let the server begin with another store.",
    )


def _not_permitted(text: str, attempt: Attempt) -> Failure:
    return Unavailable(
        Reason.INSUFFICIENT_PRIVILEGES,
        f"{text} As a superuser or the owner, give {attempt.login.username} what it lacks: an admin login needs "
        "CREATEROLE and CREATEDB, CONNECT on the maintenance database, and ADMIN on roles that others created.",
    )


def _race(text: str, attempt: Attempt) -> Failure:
    return Waiting(
        Reason.BUSY,
        f"{text} It was changed at the same moment. {_GOES_ON}",
        retry_after=CONFLICT_RETRY_SECONDS,
    )


def _in_use(text: str, attempt: Attempt) -> Failure:
    return Unavailable(
        Reason.DELETION_BLOCKED,
        f"{text} End what uses it, as the database's owner or a superuser. {_GOES_ON}",
    )


def _read_only(text: str, attempt: Attempt) -> Failure:
    return Unavailable(
        Reason.STORE_UNREACHABLE,
        f"{text} The server is a standby: name the primary in postgres.host of the class. {_GOES_ON}",
    )


def _cancelled(text: str, attempt: Attempt) -> Failure:
    return Unavailable(Reason.BUSY, f"{text} The server is overloaded, or something holds a lock. {_GOES_ON}")


def _closed(text: str, attempt: Attempt) -> Failure:
    return Unavailable(
        Reason.BUSY, f"{text} It is being created or deleted, or its owner has closed it. {_GOES_ON}"
    )


_RULES = (
    _Rule((), ("could not translate host name",), _host_not_found),
    _Rule((), ("no pg_hba.conf entry", "pg_hba.conf rejects"), _not_admitted),
    _Rule(
        (),
        (
            "certificate verify failed",
            "does not match host name",
            "root certificate file",
            "could not get server's host name",
            "server does not support SSL",
            # A connection that breaks is an "SSL error" as well.
            "SSL error: (?!unexpected eof|.*(closed|reset|timed out))",
        ),
        _tls_failed,
    ),
    _Rule(
        ("28P01", "28000"),
        ("authentication failed", "no password supplied", "is not permitted to log in"),
        _login_refused,
    ),
    _Rule(
        ("53300",),
        ("too many clients", "connection slots are reserved", "too many connections for"),
        _too_many_connections,
    ),
    _Rule(("53100",), ("No space left on device",), _disk_full),
    _Rule(("42501",), ("permission denied for database",), _not_permitted),
    _Rule(("3D000",), ('database ".*" does not exist',), _no_database),
    _Rule((), ("unsupported startup parameter",), _settings_dropped),
    _Rule((), ("is not currently accepting connections", "cannot connect to invalid database"), _closed),
    _Rule(("42710", "42P04", "23505", "XX000", "40001", "40P01"), (), _race),
    _Rule(("2BP01", "55006"), (), _in_use),
    _Rule(("25006",), (), _read_only),
    _Rule(("57014", "55P03"), (), _cancelled),
)
