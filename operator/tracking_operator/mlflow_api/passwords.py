"""Passwords that nobody can guess."""

import secrets
from typing import Final

RANDOM_BYTES: Final = 24


def new_password() -> str:
    """192 random bits in 32 letters, digits, ``-`` and ``_``; MLflow wants at least 12 characters."""
    return secrets.token_urlsafe(RANDOM_BYTES)
