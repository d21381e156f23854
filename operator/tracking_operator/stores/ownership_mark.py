"""The ownership mark: a text on a database, role, prefix or identity that says whose it is.

Everybody who can log in to a PostgreSQL can read the comments on what the whole server shares. So a mark names no
namespace and no server: it has digests of them, which whoever knows the names can compare (decision 0034).
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MANAGED_BY: Final = "tracking-operator.dev"
DIGITS: Final = 32
"""Of each digest, hexadecimal: 128 bits, which nobody finds a second name for."""

_REMEMBERED: Final = 16_384
"""More digests than a cluster has servers: all of them are compared with what is found in a store."""


@dataclass(frozen=True)
class WrittenMark:
    """What a mark says that was read from somewhere."""

    cluster: str
    namespace: str
    """The digest of the namespace."""
    server: str
    """The digest of the server with its namespace."""
    namespace_uid: str = ""
    """Empty in a mark that an earlier operator wrote, which knew nothing of it."""
    uid: str = ""


@dataclass(frozen=True)
class Mark:
    """The tracking server that something outside of Kubernetes belongs to.

    Cluster, namespace, the namespace's UID and name decide: a namespace of the same name that is made later is
    somebody else. The UID of the resource is information for people, as a server that is created again under its
    old name takes back what it had.
    """

    cluster: str
    namespace: str
    name: str
    uid: str = ""
    namespace_uid: str = ""
    takes_over: bool = False
    """Whether the platform team has handed over what an earlier namespace of this name had; never written down."""

    @property
    def written(self) -> WrittenMark:
        """What is written down of it."""
        return WrittenMark(
            self.cluster,
            namespace_digest(self.cluster, self.namespace),
            server_digest(self.cluster, self.namespace, self.name),
            self.namespace_uid,
            self.uid,
        )

    @property
    def text(self) -> str:
        """The comment: one line of JSON in a fixed order."""
        written = self.written
        return json.dumps(
            {
                "managedBy": MANAGED_BY,
                "cluster": written.cluster,
                "namespaceDigest": written.namespace,
                "namespaceUid": written.namespace_uid,
                "serverDigest": written.server,
                "uid": written.uid,
            }
        )

    @property
    def beginnings_of_namespace(self) -> tuple[str, str]:
        """How the comments of all servers of the namespace begin: today's, and those of an operator that wrote names."""
        return self.text.partition(', "serverDigest": ')[0], self._text_with_names.partition(', "name": ')[0]

    @property
    def sign(self) -> str:
        """What the comments have in them of all servers of this name, also of those in earlier namespaces of this name."""
        return f'"serverDigest": "{self.written.server}"'

    @property
    def earlier_beginning(self) -> str:
        """How an operator that wrote names began the server's comments."""
        return self._text_with_names.partition(', "uid": ')[0]

    @property
    def _text_with_names(self) -> str:
        """The comment that earlier operators wrote. Still read, and written anew at the next resync."""
        return json.dumps(
            {
                "managedBy": MANAGED_BY,
                "cluster": self.cluster,
                "namespace": self.namespace,
                "namespaceUid": self.namespace_uid,
                "name": self.name,
                "uid": self.uid,
            }
        )

    @staticmethod
    def read(comment: str | None) -> WrittenMark | None:
        """Read a comment, also one of an earlier operator, which has names; None if it is not one of ours."""
        try:
            found = json.loads(comment or "")
        except ValueError:
            return None
        if not isinstance(found, dict) or found.get("managedBy") != MANAGED_BY:
            return None
        fields = {key: value for key, value in found.items() if isinstance(value, str)}
        fields.setdefault("namespaceUid", "")
        match fields:
            case {
                "cluster": cluster,
                "namespaceDigest": namespace,
                "namespaceUid": namespace_uid,
                "serverDigest": server,
                "uid": uid,
            }:
                return WrittenMark(cluster, namespace, server, namespace_uid, uid)
            case {
                "cluster": cluster,
                "namespace": namespace,
                "namespaceUid": namespace_uid,
                "name": name,
                "uid": uid,
            }:
                return Mark(cluster, namespace, name, uid, namespace_uid).written
            case _:
                return None

    def is_same_owner(self, found: WrittenMark | None) -> bool:
        """Whether ``found``, which was read from somewhere, names this tracking server of this namespace.

        A mark of an earlier operator, which has no UID of a namespace, counts until it is written anew.
        """
        if found is None or not self._is_same_name(found):
            return False
        return self.takes_over or found.namespace_uid in ("", self.namespace_uid)

    def is_of_earlier_namespace(self, found: WrittenMark | None) -> bool:
        """Whether ``found`` names a server of this name in another namespace that was called like this one."""
        return found is not None and self._is_same_name(found) and not self.is_same_owner(found)

    def _is_same_name(self, found: WrittenMark) -> bool:
        written = self.written
        return (written.cluster, written.server) == (found.cluster, found.server)


@lru_cache(_REMEMBERED)
def namespace_digest(cluster: str, namespace: str) -> str:
    """What stands for a namespace in a mark."""
    return _digest("namespace", cluster, namespace)


@lru_cache(_REMEMBERED)
def server_digest(cluster: str, namespace: str, name: str) -> str:
    """What stands for a server, with its namespace, in a mark."""
    return _digest("server", cluster, namespace, name)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGITS]
