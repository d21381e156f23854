"""What PostgreSQL stores in place of a password: a SCRAM-SHA-256 verifier.

Sent as the password in ALTER ROLE, it is taken as it is, so the password itself never reaches the
server, its log or pg_stat_statements. RFC 5802 and RFC 7677; the format is that of PostgreSQL's
src/common/scram-common.c (``scram_build_secret``).
"""

import base64
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from typing import Final

ITERATIONS: Final = 4096
"""PostgreSQL's own default. The passwords are random, so more would only make each login slower."""

SALT_BYTES: Final = 16


def new_password() -> str:
    """A password that nobody can guess: 256 random bits, in letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(32)


def new_verifier(password: str) -> str:
    """A verifier of ``password`` with a random salt."""
    return verifier(password, secrets.token_bytes(SALT_BYTES))


def verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """Return the verifier of ``password``; ``salt`` is random and of ``SALT_BYTES`` bytes."""
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, iterations)
    stored_key = hashlib.sha256(_keyed(salted, b"Client Key")).digest()
    server_key = _keyed(salted, b"Server Key")
    return f"SCRAM-SHA-256${iterations}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def matches(password: str, stored: str) -> bool:
    """Whether ``stored`` is a verifier of ``password``."""
    try:
        _, parameters, _ = stored.split("$")
        iterations, salt = parameters.split(":")
        expected = verifier(password, base64.b64decode(salt), int(iterations))
    except ValueError:
        return False
    return hmac.compare_digest(expected, stored)


def _keyed(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _prepared(password: str) -> bytes:
    """The password after SASLprep (RFC 4013), or as it is where that forbids it: what libpq and the server do."""
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in password
        if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    return (password if _is_prohibited(prepared) else prepared).encode()


def _is_prohibited(text: str) -> bool:
    return not text or any(_is_forbidden(char) for char in text) or _mixes_directions(text)


def _is_forbidden(char: str) -> bool:
    return (
        stringprep.in_table_c12(char)
        or stringprep.in_table_c21_c22(char)
        or stringprep.in_table_c3(char)
        or stringprep.in_table_c4(char)
        or stringprep.in_table_c5(char)
        or stringprep.in_table_c6(char)
        or stringprep.in_table_c7(char)
        or stringprep.in_table_c8(char)
        or stringprep.in_table_c9(char)
        or stringprep.in_table_a1(char)
    )


def _mixes_directions(text: str) -> bool:
    if not any(stringprep.in_table_d1(char) for char in text):
        return False
    begins_and_ends_right = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return any(stringprep.in_table_d2(char) for char in text) or not begins_and_ends_right
