"""Passwords and keys that nobody can guess."""

import base64
import secrets
from typing import Final

RANDOM_BYTES: Final = 32


def new_password() -> str:
    """256 random bits in 43 letters, digits, ``-`` and ``_``; MLflow wants at least 12 characters."""
    return secrets.token_urlsafe(RANDOM_BYTES)


def new_key() -> str:
    """256 random bits, written as a Fernet key (https://github.com/fernet/spec): 44 letters, digits, ``-``, ``_`` and ``=``."""
    return base64.urlsafe_b64encode(secrets.token_bytes(RANDOM_BYTES)).decode()
