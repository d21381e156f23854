"""Which failure the answers of servers and of libpq become; those of managed services included."""

import psycopg2
import pytest

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting
from tracking_operator.stores.postgres.database_server import Login, PostgresServer
from tracking_operator.stores.postgres.errors import Attempt, TimedOut, failure_from

SERVER = PostgresServer("pg.db.svc")
ATTEMPT = Attempt(SERVER, Login("admin", "hunter2"), "let admin into database postgres", "postgres")
WHERE = 'connection to server at "pg.db.svc" (10.0.0.1), port 5432 failed: '


def failure(text: str) -> Failure:
    return failure_from(psycopg2.OperationalError(text), ATTEMPT)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (f'{WHERE}FATAL:  password authentication failed for user "admin"\n', Waiting, Reason.LOGIN_REFUSED),
        (f'{WHERE}FATAL:  PAM authentication failed for user "admin"', Waiting, Reason.LOGIN_REFUSED),
        (
            f'{WHERE}FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "admin", database "postgres", no encryption',
            Waiting,
            Reason.LOGIN_REFUSED,
        ),
        (f"{WHERE}FATAL:  sorry, too many clients already", Unavailable, Reason.TOO_MANY_CONNECTIONS),
        (
            f"{WHERE}FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
            Unavailable,
            Reason.TOO_MANY_CONNECTIONS,
        ),
        (
            'could not translate host name "pg.db.svc" to address: Name or service not known',
            Unavailable,
            Reason.HOST_NOT_FOUND,
        ),
        (f"{WHERE}SSL error: certificate verify failed", Waiting, Reason.TLS_FAILED),
        (f"{WHERE}SSL error: tlsv1 alert unknown ca", Waiting, Reason.TLS_FAILED),
        (
            f'{WHERE}server certificate for "other" does not match host name "pg.db.svc"',
            Waiting,
            Reason.TLS_FAILED,
        ),
        (
            f"{WHERE}server does not support SSL, but SSL was required",
            Waiting,
            Reason.TLS_FAILED,
        ),
        ("SSL SYSCALL error: EOF detected", Unavailable, Reason.STORE_UNREACHABLE),
        ("SSL error: unexpected eof while reading", Unavailable, Reason.STORE_UNREACHABLE),
        ("SSL connection has been closed unexpectedly", Unavailable, Reason.STORE_UNREACHABLE),
        (f"{WHERE}Connection refused\n\tIs the server running?", Unavailable, Reason.STORE_UNREACHABLE),
        (f"{WHERE}FATAL:  the database system is starting up", Unavailable, Reason.STORE_UNREACHABLE),
        ("server closed the connection unexpectedly", Unavailable, Reason.STORE_UNREACHABLE),
        (f'{WHERE}FATAL:  database "postgres" does not exist', Invalid, Reason.INVALID_SPEC),
        (
            f'{WHERE}FATAL:  database "postgres" is not currently accepting connections',
            Unavailable,
            Reason.STORE_FAILED,
        ),
        (f'{WHERE}FATAL:  cannot connect to invalid database "postgres"', Invalid, Reason.INVALID_SPEC),
        (f"{WHERE}FATAL:  Passwort-Authentifizierung fehlgeschlagen", Unavailable, Reason.STORE_UNREACHABLE),
        ("", Unavailable, Reason.STORE_UNREACHABLE),
    ],
)
def test_each_answer_has_its_failure(text: str, kind: type[Failure], reason: Reason) -> None:
    found = failure(text)
    assert type(found) is kind
    assert found.reason is reason
    assert found.message.startswith("PostgreSQL at pg.db.svc:5432 did not let admin into database postgres: ")
    assert found.message.endswith(".")
    assert "\n" not in found.message
    assert "hunter2" not in found.message


def test_a_time_out_says_how_long_it_was() -> None:
    found = failure_from(TimedOut(4.0), ATTEMPT)
    assert "no answer within 4 s. Check the server" in found.message
    assert found.reason is Reason.STORE_UNREACHABLE


def test_an_answer_is_one_short_line_without_its_surroundings() -> None:
    found = failure(
        f'{WHERE}FATAL:  permission denied for database "postgres"\nDETAIL:  User does not have it.\n'
    )
    assert 'postgres: permission denied for database "postgres". As a superuser' in found.message
    assert len(failure("x" * 10_000).message) < 1000
