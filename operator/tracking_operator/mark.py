"""The ownership mark: a text on a database, role, prefix or identity that says whose it is."""

import json
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Final, Self

MANAGED_BY: Final = "tracking-operator.dev"


@dataclass(frozen=True)
class Mark:
    """The tracking server that something outside of Kubernetes belongs to.

    Cluster, namespace and name decide; the UID of the resource is information for people, as a server
    that is created again under its old name takes back what it had.
    """

    cluster: str
    namespace: str
    name: str
    uid: str = ""

    @property
    def text(self) -> str:
        """The comment: one line of JSON in a fixed order."""
        return json.dumps(
            {
                "managedBy": MANAGED_BY,
                "cluster": self.cluster,
                "namespace": self.namespace,
                "name": self.name,
                "uid": self.uid,
            }
        )

    @classmethod
    def read(cls, comment: str | None) -> Self | None:
        """Read a comment; None if it is not one of ours."""
        try:
            found = json.loads(comment or "")
        except ValueError:
            return None
        if not isinstance(found, dict) or found.get("managedBy") != MANAGED_BY:
            return None
        fields = [
            value
            for key in ("cluster", "namespace", "name", "uid")
            if isinstance(value := found.get(key), str)
        ]
        return cls(*fields) if len(fields) == len(dataclass_fields(cls)) else None

    def is_same_owner(self, other: "Mark | None") -> bool:
        """Whether both name the same tracking server of the same cluster."""
        return other is not None and (self.cluster, self.namespace, self.name) == (
            other.cluster,
            other.namespace,
            other.name,
        )
