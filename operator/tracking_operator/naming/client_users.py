"""What MLflow's users are called that are made for TrackingServerClients, and how they are told from all others.

A name is made for one client of one server, by their UIDs, so that nobody else ever gets it: not a client of the same name in a
namespace that was made again, and not by hyphens in other places. Its end is computed from the rest. A person who makes a
user by hand does not hit on it, so that the operator knows its own users without a record, in a restored database, too.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = "client-"
_IDENTITY_DIGITS: Final = 16
_CHECK_DIGITS: Final = 16
_CHECKED_FOR: Final = "tracking-operator.dev/client-user/"


@dataclass(frozen=True)
class ClientIdentity:
    """Whom a user is for, exactly."""

    server_uid: str
    namespace: str
    namespace_uid: str
    name: str
    uid: str
    permission: str

    @property
    def username(self) -> str:
        """What the user is called: readable at its beginning, unique at its end."""
        parts = [self.server_uid, self.namespace, self.namespace_uid, self.name, self.uid, self.permission]
        identity = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_IDENTITY_DIGITS]
        begin = f"{_PREFIX}{self.namespace}-{self.name}-{identity}"
        return f"{begin}-{_check(begin)}"


def is_client_username(username: str) -> bool:
    """Whether a user was made for a TrackingServerClient, of whichever server."""
    begin, hyphen, check = username.rpartition("-")
    return bool(hyphen) and begin.startswith(_PREFIX) and check == _check(begin)


def _check(begin: str) -> str:
    return hashlib.sha256(f"{_CHECKED_FOR}{begin}".encode()).hexdigest()[:_CHECK_DIGITS]
