"""What the answers of databases and object stores mean, told from their codes and, where there is none, from their words.

Operator and pods classify by these functions alone, so that both call one answer by one reason. Pods carry this file, so it
imports the standard library only. ``outcomes.py`` says what follows from a reason.

SQLSTATEs are those of PostgreSQL 15 to 18 (https://www.postgresql.org/docs/current/errcodes-appendix.html). While a connection
is being made libpq tells none, only a text, in English; numbers in brackets are MySQL's. The codes of S3
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html) and of IAM are joined by what versitygw, MinIO and Ceph
say beside them. A HEAD request is answered without a body: its code is the HTTP status.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Answer(Enum):
    """What an answer means: in words, as a reason to the server itself, and to the class's admin if that differs."""

    def __init__(self, meaning: str, reason: str, reason_for_admin: str = "") -> None:
        self.meaning = meaning
        self.reason = reason
        self.reason_for_admin = reason_for_admin or reason

    UNREACHABLE = "no answer, or one of somebody else", "StoreUnreachable"
    HOST_NOT_FOUND = "the host name does not resolve", "HostNotFound"
    TLS_FAILED = "no TLS, or a certificate that does not verify", "TlsFailed"
    LOGIN_REFUSED = "the credentials are refused", "LoginRefused"
    FULL = "no space, or a quota of space is used up", "DiskFull"
    BUSY = "too much to do, or a lock", "Busy"
    CHANGED_MEANWHILE = "somebody changed the same at the same moment", "Busy"

    # Databases
    NOT_ADMITTED = "pg_hba.conf admits no such login", "LoginRefused"
    TOO_MANY_CONNECTIONS = "no free connection slot", "TooManyConnections"
    NOT_PERMITTED = "a privilege is missing in the database", "LoginRefused", "InsufficientPrivileges"
    NO_DATABASE = "no database of this name", "LoginRefused", "DatabaseLost"
    SETTINGS_DROPPED = "a pooler refuses settings of sessions", "UnsupportedUri", "SessionSettingsDropped"
    NO_TRANSACTIONS = (
        "a pooler lets single statements through only",
        "UnsupportedUri",
        "SessionSettingsDropped",
    )
    UNKNOWN_OPTION = "the driver does not know an option", "UnsupportedUri", "InvalidSpec"
    CLOSED = "somebody has closed the database for connections", "StoreFailed"
    INVALID = "an interrupted DROP DATABASE has left it", "StoreFailed", "DatabaseLost"
    IN_USE = "something else depends on it", "Busy", "DeletionBlocked"
    READ_ONLY = "the server is a standby", "StoreUnreachable"

    # Object stores
    IDENTITY_UNKNOWN = "the access key is not known, or not yet", "LoginRefused"
    CLOCK_DIFFERS = "the clocks differ", "LoginRefused"
    DENIED = "a policy denies it", "AccessDenied", "InsufficientPrivileges"
    NO_BUCKET = "no bucket of this name", "BucketNotFound"
    OF_OTHERS = "the bucket belongs to somebody else", "BucketElsewhere"
    ELSEWHERE = "the bucket is in another region", "BucketElsewhere"
    ACCOUNT_FULL = "a quota of the account is used up", "QuotaExceeded"
    UNKNOWN_REQUEST = "the store does not know the request", "UnsupportedUri", "InvalidSpec"
    FAILED = "an error of the store's own", "StoreFailed"


@dataclass(frozen=True)
class _Database:
    """How databases say something: by SQLSTATE; where there is none, in words that one of the patterns finds."""

    answer: Answer
    sqlstates: tuple[str, ...]
    signs: tuple[str, ...]


_INTERNAL_ERROR: Final = "XX000"
_CHANGED_TUPLE: Final = "tuple concurrently (updated|deleted)"
"""What PostgreSQL calls an internal error although it is a race; others of that code are its own."""

_DATABASES: Final = (
    _Database(Answer.UNKNOWN_OPTION, (), ("invalid dsn", "invalid connection option")),
    _Database(Answer.HOST_NOT_FOUND, (), ("could not translate host name", "Name or service not known")),
    _Database(Answer.NOT_ADMITTED, (), ("no pg_hba.conf entry", "pg_hba.conf rejects")),
    _Database(
        Answer.TLS_FAILED,
        (),
        (
            "certificate verify failed",
            "does not match host name",
            "certificate file",
            "private key file",
            "requires a valid client certificate",
            "could not get server's host name",
            "server does not support SSL",
            # A connection that breaks is an "SSL error" as well.
            "SSL error: (?!unexpected eof|.*(closed|reset|timed out))",
        ),
    ),
    _Database(
        Answer.LOGIN_REFUSED,
        ("28P01", "28000"),
        (
            "authentication failed",
            "no password supplied",
            "is not permitted to log in",
            'role ".*" does not exist',
            "no such user",  # PgBouncer
            "(Access denied|Login failed) for user",
            r"\((1044|1045|1698|3118),",
        ),
    ),
    _Database(
        Answer.TOO_MANY_CONNECTIONS,
        ("53300",),
        (
            "too many clients",
            "connection slots are reserved",
            "too many connections for",
            r"errors\.TooManyConnections\b",
            "query_wait_timeout",  # PgBouncer: all connections of the pool are in use
            r"\((1040|1203|1226),",
        ),
    ),
    _Database(Answer.FULL, ("53100",), ("No space left on device", r"errors\.DiskFull\b", r"\((1114|1021),")),
    _Database(Answer.NOT_PERMITTED, ("42501",), ("permission denied for", r"\((1142|1143),")),
    _Database(
        Answer.NO_DATABASE, ("3D000",), ('database ".*" does not exist', "no such database", r"\(1049,")
    ),
    _Database(Answer.SETTINGS_DROPPED, (), ("unsupported startup parameter",)),
    _Database(Answer.NO_TRANSACTIONS, (), ("transaction blocks not allowed",)),
    _Database(Answer.CLOSED, (), ("is not currently accepting connections",)),
    _Database(Answer.INVALID, (), ("connect to invalid database",)),
    _Database(
        Answer.CHANGED_MEANWHILE,
        ("42710", "42P04", "23505", "40001", "40P01"),
        (
            r"errors\.(DeadlockDetected|SerializationFailure)\b",
            "deadlock detected",
            _CHANGED_TUPLE,
            r"\(1213,",
        ),
    ),
    _Database(Answer.IN_USE, ("2BP01", "55006"), ()),
    _Database(Answer.READ_ONLY, ("25006",), ()),
    _Database(
        Answer.BUSY,
        ("57014", "55P03"),
        (r"errors\.(LockNotAvailable|QueryCanceled)\b", "lock timeout", r"\(1205,"),
    ),
    _Database(Answer.UNREACHABLE, (), (r"\((2002|2003|2006|2013|2055),",)),
)


def database_answer(sqlstate: str, text: str) -> Answer | None:
    """What a database or its driver means; None where neither code nor words are known."""
    if sqlstate == _INTERNAL_ERROR:
        return Answer.CHANGED_MEANWHILE if re.search(_CHANGED_TUPLE, text) else Answer.FAILED
    for rule in _DATABASES:
        if sqlstate and sqlstate in rule.sqlstates:
            return rule.answer
        if not sqlstate and any(re.search(sign, text) for sign in rule.signs):
            return rule.answer
    return None


OBJECT_STORE_CODES: Final[Mapping[Answer, frozenset[str]]] = {
    Answer.IDENTITY_UNKNOWN: frozenset(
        {"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidToken"}
    ),
    Answer.LOGIN_REFUSED: frozenset(
        {
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "ExpiredTokenException",
            "AuthFailure",
            "InvalidSecurity",
            "AuthenticationFailed",
            "401",
        }
    ),
    Answer.CLOCK_DIFFERS: frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}),
    Answer.FULL: frozenset(
        {
            "QuotaExceeded",
            "InsufficientStorage",
            "XMinioStorageFull",
            "XMinioAdminBucketQuotaExceeded",
            "507",
        }
    ),
    Answer.NO_BUCKET: frozenset({"NoSuchBucket", "404"}),
    Answer.OF_OTHERS: frozenset({"BucketAlreadyExists"}),
    Answer.ELSEWHERE: frozenset(
        {
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "InvalidLocationConstraint",
            "301",
            "307",
        }
    ),
    Answer.BUSY: frozenset(
        {
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "RequestLimitExceeded",
            "TooManyRequests",
            "TooManyRequestsException",
            "ServiceUnavailable",
            "429",
            "503",
        }
    ),
    Answer.CHANGED_MEANWHILE: frozenset(
        {
            "OperationAborted",
            "ConditionalRequestConflict",
            "ConcurrentModification",
            "EntityTemporarilyUnmodifiable",
        }
    ),
    Answer.ACCOUNT_FULL: frozenset({"LimitExceeded", "TooManyBuckets"}),
    Answer.UNKNOWN_REQUEST: frozenset(
        {"NotImplemented", "MethodNotAllowed", "VersioningNotConfigured", "XNotImplemented", "501", "405"}
    ),
    Answer.DENIED: frozenset(
        {
            "AccessDenied",
            "AccessDeniedException",
            "AllAccessDisabled",
            "UnauthorizedAccess",
            "XAdminAccessDenied",
            "Forbidden",
            "403",
        }
    ),
    # Said of an object that has to be there; who only asks whether it is looks at the code itself.
    Answer.FAILED: frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchUpload"}),
}
"""How object stores say something: by code, or by HTTP status."""


def object_store_answer(code: str, status: int) -> Answer:
    """What an object store means that has not done as asked; a code says more than a status."""
    for said in (code, str(status)):
        for answer, codes in OBJECT_STORE_CODES.items():
            if said in codes:
                return answer
    return Answer.FAILED


_NO_TLS: Final = re.compile(
    r"SSLError|CERTIFICATE_VERIFY_FAILED|\[SSL|WRONG_VERSION_NUMBER|CA certificate bundle"
)
_NO_SUCH_HOST: Final = re.compile(
    "resolve|Name or service not known|name resolution|nodename nor servname|No address"
)


def silence(text: str) -> Answer:
    """Why an object store gave no answer at all; libraries tell it in words only."""
    if _NO_TLS.search(text):
        return Answer.TLS_FAILED
    return Answer.HOST_NOT_FOUND if _NO_SUCH_HOST.search(text) else Answer.UNREACHABLE
