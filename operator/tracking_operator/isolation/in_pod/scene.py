"""What an attacker's pod knows: its own server's names and credentials, and the names of the one that it attacks.

Whoever runs the matrix tells it the other server's names: an attacker that has guessed them all is the strongest one.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DATABASE_SERVICE: Final = "mlflow"
SECONDS_TO_CONNECT: Final = 5


@dataclass(frozen=True)
class Side:
    """A team and its server; a name is empty where the server has no such thing.

    Attributes:
        namespace: the team's.
        server: the TrackingServer's name.
        database: its own database.
        role: the role that owns everything in it.
        login: with which the server's pods log in.
        bucket: where its artifacts are.
        prefix: its own in the bucket, without a slash at its end.
        service: the host name of its Service.
        pod: the address of one of its pods.
        host: the host that people use.
        path: the prefix of its URLs; `/` for none.
    """

    namespace: str
    server: str
    database: str = ""
    role: str = ""
    login: str = ""
    bucket: str = ""
    prefix: str = ""
    service: str = ""
    pod: str = ""
    host: str = ""
    path: str = "/"


@dataclass(frozen=True)
class Scene:
    """Everything that the attempts in a pod need.

    Attributes:
        own: the attacker's side.
        other: the side that is attacked.
        maintenance: the class's database for the admin.
        ingress: `host:port` at which the route to the servers begins; empty where there is none.
        scheme: of the route: `http` or `https`.
        operator_pods: addresses of the operator's pods.
        has_login: whether the servers ask for a login.
        mark: a word in everything that this run writes.
    """

    own: Side
    other: Side
    maintenance: str = "postgres"
    ingress: str = ""
    scheme: str = "http"
    operator_pods: tuple[str, ...] = ()
    has_login: bool = False
    mark: str = "isolation-check"

    @classmethod
    def read(cls, path: Path) -> "Scene":
        """Read what the runner wrote."""
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        own, other = (Side(**found.pop(side)) for side in ("own", "other"))
        operator_pods = tuple(found.pop("operator_pods", ()))
        return cls(own=own, other=other, operator_pods=operator_pods, **found)


def secret(folder: str, key: str) -> str:
    """What a key of a mounted Secret holds; empty where there is none."""
    path = Path(os.environ.get("ISOLATION_SECRETS", "/etc/attacker")) / folder / key
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""
