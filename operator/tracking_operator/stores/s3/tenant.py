"""What one tracking server has in a bucket, as whom it gets there, and how that should be."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_class import Isolation
from tracking_operator.failures import Invalid
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3.bucket_address import Bucket, Keys

Encryption = Literal["AES256", "aws:kms"]
"""How S3 encrypts an object, in its own words."""

OWN_FOLDER: Final = ".tracking-operator"
"""Where the operator keeps its own objects in a bucket: outside of every prefix."""
MARK_NAME: Final = "owner.json"

LONGEST_PREFIX: Final = 512
"""In bytes. S3 allows 1024 for a whole key, and MLflow needs the rest."""
LONGEST_USER_NAME: Final = 64
"""In characters: what IAM allows. versitygw has no limit of its own."""

CLUSTER_DIGITS: Final = 8
SERVER_DIGITS: Final = 16
SERVER_DIGITS_IN_USER_NAMES: Final = 12

_UNSAFE: Final = re.compile(r"""[\x00-\x20\x7f*?$"'\\{}<>|^`#%\[\]]""")
"""What is a wildcard or a variable in a policy, or has to be encoded in keys."""


@dataclass(frozen=True)
class Admin:
    """A bucket, and the keys that may change its policy and make identities; None: the operator's own identity."""

    bucket: Bucket
    keys: Keys | None


@dataclass(frozen=True)
class Tenant:
    """One server's prefix in a bucket, without a slash at either end.

    Raises:
        Invalid: the prefix cannot be used; with the reason InvalidSpec.

    """

    bucket: str
    prefix: str
    mark: Mark

    def __post_init__(self) -> None:
        if problem := problem_of_prefix(self.prefix):
            raise Invalid(
                Reason.INVALID_SPEC,
                f"The prefix {self.prefix!r} {problem}. Correct naming.artifactPrefix of the class.",
            )

    @classmethod
    def named(cls, bucket: str, prefix: str, mark: Mark) -> Self:
        """The tenant of ``mark`` under ``prefix``."""
        return cls(bucket=bucket, prefix=prefix, mark=mark)

    @property
    def folder(self) -> str:
        """What every key of the tenant begins with."""
        return f"{self.prefix}/"

    @property
    def mark_key(self) -> str:
        """The key of the object that says whose the prefix is."""
        return mark_key(self.prefix)

    @property
    def entry_key(self) -> str:
        """The key of the object by which the tenant's prefix is found when nobody knows any more where it is."""
        return f"{entries_of(self.mark)}{self.prefix}/{MARK_NAME}"

    @property
    def sid(self) -> str:
        """What the names of the tenant's policy statements begin with."""
        return sid_start(self.mark)

    @property
    def user_name(self) -> str:
        """The name of the tenant's IAM user: readable, at most 64 characters, with the hashes of the mark at its end."""
        return self._user_name("")

    @property
    def user_names(self) -> tuple[str, str]:
        """The names, which are access keys at the same time, of the tenant's two versitygw users."""
        return self._user_name("-a"), self._user_name("-b")

    def _user_name(self, suffix: str) -> str:
        end = f"-{user_part(self.mark.cluster, server_part(self.mark))}{suffix}"
        readable = f"mlflow-{self.mark.namespace}-{self.mark.name}"
        return f"{readable[: LONGEST_USER_NAME - len(end)].rstrip('-')}{end}"


def mark_key(prefix: str) -> str:
    """The key of the object that says whose ``prefix`` is."""
    return f"{OWN_FOLDER}/prefixes/{prefix}/{MARK_NAME}"


def entries_of(mark: Mark) -> str:
    """What the keys of the entries begin with that tell which prefixes a server has: a digest that names nobody."""
    return f"{OWN_FOLDER}/servers/{mark.written.server}/"


def server_part(mark: Mark) -> str:
    """What tells the servers of a cluster apart in names of statements: 16 hexadecimal digits."""
    return _hash(mark.cluster, mark.namespace, mark.name)[:SERVER_DIGITS]


def server_key(mark: Mark) -> str:
    """The beginning of the ``server_part``, which names of users have, too: 12 hexadecimal digits."""
    return server_part(mark)[:SERVER_DIGITS_IN_USER_NAMES]


def cluster_part(cluster: str) -> str:
    """What tells clusters apart in names of statements and users: 8 hexadecimal digits."""
    return _hash(cluster)[:CLUSTER_DIGITS]


def sids_of_cluster(cluster: str) -> str:
    """What the names of all statements of a cluster's servers begin with."""
    return f"trk{cluster_part(cluster)}"


def sid_start(mark: Mark) -> str:
    """What the names of a server's statements begin with; S3 allows letters and digits only."""
    return f"{sids_of_cluster(mark.cluster)}{server_part(mark)}"


def user_part(cluster: str, server: str) -> str:
    """What the names of a server's users end in; ``server`` is its ``server_part``, or the beginning of one."""
    return f"{cluster_part(cluster)}{server[:SERVER_DIGITS_IN_USER_NAMES]}"


def problem_of_prefix(prefix: str) -> str | None:
    """What is wrong with a prefix, as the end of a sentence; None if it can be used."""
    segments = prefix.split("/")
    if not all(segments):
        return "has an empty part: it must not be empty, begin or end with '/', or hold '//'"
    if any(segment in (".", "..") for segment in segments):
        return "has a part '.' or '..', which leads elsewhere in some tools"
    if _UNSAFE.search(prefix):
        return (
            "holds a wildcard, a space, or another character that means something else in a policy or a URL"
        )
    if prefix.startswith(OWN_FOLDER) or MARK_NAME in segments:
        return f"is where the operator keeps its own objects: {OWN_FOLDER} and {MARK_NAME} are taken"
    if len(prefix.encode()) > LONGEST_PREFIX:
        return f"is longer than {LONGEST_PREFIX} bytes"
    return None


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class IamUser:
    """An IAM user under ``path``, with an inline policy and access keys. ``endpoint`` is None for AWS's own IAM."""

    path: str = "/tracking-operator/"
    permissions_boundary: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True)
class VersitygwUser:
    """A user of versitygw. ``admin_endpoint`` is the URL of its admin API; None: the bucket's endpoint."""

    admin_endpoint: str | None = None


@dataclass(frozen=True)
class Role:
    """A role of the server's own, which its ServiceAccount assumes (IRSA). The platform team makes it."""

    arn: str


@dataclass(frozen=True)
class PodRole:
    """One role for all servers (EKS Pod Identity); None: the platform team attaches the policy by itself."""

    arn: str | None = None
    eks_cluster_name: str | None = None


@dataclass(frozen=True)
class SuppliedKeys:
    """Keys that somebody else made: nothing is created for them, and the bucket's policy does not name them."""


Identity = IamUser | VersitygwUser | Role | PodRole | SuppliedKeys


@dataclass(frozen=True)
class PolicyShare:
    """How much of a bucket's policy the servers of one namespace may take together.

    A statement does not say in which namespace its server is, so that ``sids`` has what the names of theirs begin with.
    """

    percent: int
    sids: frozenset[str]


@dataclass(frozen=True)
class Desired:
    """How a tenant's prefix and identity should be.

    ``require_encryption`` is what uploads have to ask for (AES256 or aws:kms); None: nothing. With ``must_exist``
    a prefix whose mark is gone is not claimed again. With ``deletes`` the identity may list and delete versions,
    for the Job that empties the prefix. ``share`` is asked only of a server that has nothing in the policy yet; None: no
    limit but the policy's own.
    """

    tenant: Tenant
    isolation: Isolation
    identity: Identity
    require_encryption: Encryption | None = None
    must_exist: bool = False
    deletes: bool = False
    share: PolicyShare | None = field(default=None, compare=False)
