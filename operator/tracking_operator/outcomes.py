"""What follows from each reason: the one table that the operator and the programs of its pods both ask.

It says whether a state may pass without an edit of the server, who has to act, in which condition a pod's word of it
belongs, and by which exit code a pod says it. Verdicts, kinds of failure, and after which exit codes a Job gives up are
read from here (decision 0040). Pods carry this file, so it imports the standard library only; its keys are the words of
``Reason`` in ``api/conditions.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class RetryClass(Enum):
    """Whether a state may pass by itself. Each has the word of the reference for it."""

    NEVER = "no"
    """Somebody has to decide: about the server, its class, a Secret, or what the operator refuses to touch."""
    OUTSIDE = "from outside"
    """The store may mend it, or whoever runs it, or another system outside: the operator goes on trying."""
    OPERATOR = "by the operator"
    """The operator, one of its Jobs, or a rollout is at it."""


class Blamed(Enum):
    """Who has to act."""

    NOBODY = auto()
    TEAM = auto()
    PLATFORM = auto()
    """The platform team; where a team has brought the store or its credentials, the team."""
    STORE = auto()
    """The store itself, and who keeps it running."""
    CLUSTER = auto()


class Home(Enum):
    """The condition in which a pod's word of a reason belongs."""

    SPEC = "SpecValid"
    STORE = "BackendStoreReady or ArtifactStoreReady"
    """That of the store that it is said of."""
    BACKEND_STORE = "BackendStoreReady"
    ARTIFACT_STORE = "ArtifactStoreReady"
    SCHEMA = "SchemaReady"
    WORKLOAD = "WorkloadReady"
    EXPOSED = "Exposed"
    ANY = "any"
    """That of the step which was under way."""


@dataclass(frozen=True)
class Classification:
    """One row of the table."""

    retry: RetryClass
    blames: Blamed
    home: Home
    exit_code: int | None = None
    """How a pod ends that gives the reason; None where none does."""
    pods_wait: bool = False
    """Whether it may be over so soon that a pod waits for it, a minute at most, before it says so."""

    @property
    def passes(self) -> bool:
        """Whether it may pass without an edit of the server."""
        return self.retry is not RetryClass.NEVER

    @property
    def is_of_the_backend_store(self) -> bool:
        """Whether a check of the backend store says it of the store, and not of the schema in it."""
        return self.home in (Home.STORE, Home.BACKEND_STORE)


_NEVER, _OUTSIDE, _OPERATOR = RetryClass.NEVER, RetryClass.OUTSIDE, RetryClass.OPERATOR
_NOBODY, _TEAM, _PLATFORM, _STORE, _CLUSTER = (
    Blamed.NOBODY,
    Blamed.TEAM,
    Blamed.PLATFORM,
    Blamed.STORE,
    Blamed.CLUSTER,
)

OUTCOMES: Final[Mapping[str, Classification]] = {
    # All is well
    "AsExpected": Classification(_NEVER, _NOBODY, Home.ANY),
    "WorkloadAvailable": Classification(_NEVER, _NOBODY, Home.WORKLOAD),
    "Reachable": Classification(_NEVER, _NOBODY, Home.EXPOSED),
    "ReachableInCluster": Classification(_NEVER, _NOBODY, Home.EXPOSED),
    "NotProbed": Classification(_NEVER, _NOBODY, Home.EXPOSED),
    "UpgradeAvailable": Classification(_NEVER, _NOBODY, Home.SPEC),
    "UsageAboveLimit": Classification(_NEVER, _TEAM, Home.STORE),
    # Working on it
    "Pending": Classification(_OPERATOR, _NOBODY, Home.ANY),
    "Progressing": Classification(_OPERATOR, _NOBODY, Home.ANY),
    "VolumePending": Classification(_OUTSIDE, _NOBODY, Home.STORE),
    "AddressChanging": Classification(_OPERATOR, _NOBODY, Home.EXPOSED),
    "RolloutInProgress": Classification(_OPERATOR, _NOBODY, Home.WORKLOAD),
    "Deleting": Classification(_OPERATOR, _NOBODY, Home.ANY),
    # Somebody decided so
    "Suspended": Classification(_NEVER, _NOBODY, Home.WORKLOAD),
    "NamespaceTerminating": Classification(_OUTSIDE, _NOBODY, Home.ANY),
    # The specification cannot be carried out
    "InvalidSpec": Classification(_NEVER, _TEAM, Home.ANY),
    "AmbiguousTemplate": Classification(_NEVER, _PLATFORM, Home.SPEC),
    "ClassNotFound": Classification(_NEVER, _TEAM, Home.SPEC),
    "MultipleDefaultClasses": Classification(_NEVER, _PLATFORM, Home.SPEC),
    "NamespaceNotAllowed": Classification(_NEVER, _TEAM, Home.SPEC),
    "VersionNotOffered": Classification(_NEVER, _TEAM, Home.SPEC),
    "NotPermitted": Classification(_NEVER, _TEAM, Home.SPEC),
    "LimitExceeded": Classification(_NEVER, _TEAM, Home.ANY),
    "ResolvedDiffers": Classification(_NEVER, _PLATFORM, Home.ANY),
    "DowngradeRefused": Classification(_NEVER, _TEAM, Home.SPEC),
    "Conflict": Classification(_NEVER, _TEAM, Home.ANY),
    "AmbiguousMarks": Classification(_NEVER, _PLATFORM, Home.STORE),
    "SecretNotFound": Classification(_OUTSIDE, _TEAM, Home.STORE),
    "SecretKeyMissing": Classification(_OUTSIDE, _TEAM, Home.STORE),
    "UnsupportedUri": Classification(_NEVER, _TEAM, Home.STORE, 27),
    # Stores
    "StoreUnreachable": Classification(_OUTSIDE, _STORE, Home.STORE, 20, pods_wait=True),
    "StoreFailed": Classification(_OUTSIDE, _STORE, Home.STORE, 31, pods_wait=True),
    # Pods do not wait for it: repeated attempts lock accounts.
    "LoginRefused": Classification(_OUTSIDE, _PLATFORM, Home.STORE, 21),
    "HostNotFound": Classification(_OUTSIDE, _STORE, Home.STORE, 45, pods_wait=True),
    "TlsFailed": Classification(_OUTSIDE, _PLATFORM, Home.STORE, 46),
    "ServerTooOld": Classification(_NEVER, _PLATFORM, Home.BACKEND_STORE),
    "InsufficientPrivileges": Classification(_OUTSIDE, _PLATFORM, Home.STORE),
    "SuperuserRefused": Classification(_NEVER, _PLATFORM, Home.BACKEND_STORE),
    "AdminIsNotOwner": Classification(_NEVER, _PLATFORM, Home.BACKEND_STORE),
    "TooManyConnections": Classification(_OUTSIDE, _STORE, Home.BACKEND_STORE, 32, pods_wait=True),
    "DiskFull": Classification(_OUTSIDE, _STORE, Home.STORE, 30),
    "Busy": Classification(_OUTSIDE, _NOBODY, Home.STORE, 29, pods_wait=True),
    "IsolationNotProved": Classification(_OUTSIDE, _PLATFORM, Home.STORE, 41),
    "SessionSettingsDropped": Classification(_NEVER, _PLATFORM, Home.BACKEND_STORE),
    "AnswerTooLarge": Classification(_OUTSIDE, _STORE, Home.BACKEND_STORE),
    "UnexpectedSchema": Classification(_OUTSIDE, _TEAM, Home.BACKEND_STORE),
    "SchemaPrivilegesLost": Classification(_OUTSIDE, _TEAM, Home.BACKEND_STORE),
    "BucketNotFound": Classification(_OUTSIDE, _PLATFORM, Home.ARTIFACT_STORE, 42),
    "BucketElsewhere": Classification(_NEVER, _PLATFORM, Home.ARTIFACT_STORE, 44),
    "BucketPolicyFull": Classification(_NEVER, _PLATFORM, Home.ARTIFACT_STORE),
    "PrefixTaken": Classification(_NEVER, _TEAM, Home.ARTIFACT_STORE),
    "PrefixLost": Classification(_NEVER, _PLATFORM, Home.ARTIFACT_STORE),
    "IdentityPending": Classification(_OUTSIDE, _NOBODY, Home.ARTIFACT_STORE, 43, pods_wait=True),
    "IdentityNotFound": Classification(_OUTSIDE, _PLATFORM, Home.ARTIFACT_STORE),
    # A policy that was just written may take a moment to be known everywhere.
    "AccessDenied": Classification(_OUTSIDE, _PLATFORM, Home.ARTIFACT_STORE, 40, pods_wait=True),
    "ReachesBeyondPrefix": Classification(_NEVER, _PLATFORM, Home.ARTIFACT_STORE, 47),
    "CheckFailed": Classification(_NEVER, _PLATFORM, Home.ARTIFACT_STORE),
    "EncryptionKeyLost": Classification(_NEVER, _TEAM, Home.SCHEMA, 48),
    "DatabaseLost": Classification(_NEVER, _PLATFORM, Home.BACKEND_STORE),
    "ConnectionBudgetTooSmall": Classification(_NEVER, _TEAM, Home.SPEC),
    "RotatingCredentials": Classification(_OPERATOR, _NOBODY, Home.STORE),
    "RevokingAccess": Classification(_OPERATOR, _NOBODY, Home.ANY),
    "AccessRevoked": Classification(_NEVER, _NOBODY, Home.ANY),
    "DeletionBlocked": Classification(_OUTSIDE, _STORE, Home.STORE),
    "VolumeFull": Classification(_NEVER, _TEAM, Home.BACKEND_STORE, 26),
    "VolumeCannotGrow": Classification(_NEVER, _PLATFORM, Home.STORE),
    "VolumeCannotShrink": Classification(_NEVER, _TEAM, Home.STORE),
    "VolumeLost": Classification(_NEVER, _CLUSTER, Home.STORE),
    # Access
    "NotReachable": Classification(_OUTSIDE, _CLUSTER, Home.EXPOSED),
    "HostRefused": Classification(_OUTSIDE, _TEAM, Home.EXPOSED),
    "AddressPending": Classification(_OUTSIDE, _NOBODY, Home.EXPOSED),
    "IngressClassNotFound": Classification(_OUTSIDE, _PLATFORM, Home.EXPOSED),
    "TlsSecretNotFound": Classification(_OUTSIDE, _TEAM, Home.EXPOSED),
    "GatewayApiMissing": Classification(_OUTSIDE, _PLATFORM, Home.EXPOSED),
    "GatewayNotFound": Classification(_OUTSIDE, _PLATFORM, Home.EXPOSED),
    "RouteNotAccepted": Classification(_OUTSIDE, _PLATFORM, Home.EXPOSED),
    "PathNotFound": Classification(_OUTSIDE, _TEAM, Home.EXPOSED),
    "AnswersWithError": Classification(_OUTSIDE, _STORE, Home.EXPOSED),
    "IdentityProviderUnreachable": Classification(_OUTSIDE, _PLATFORM, Home.WORKLOAD, 53, pods_wait=True),
    # Pods do not wait for it: repeated attempts lock clients.
    "IdentityProviderRefusesClient": Classification(_OUTSIDE, _PLATFORM, Home.WORKLOAD, 54),
    # Schema
    "SchemaMissing": Classification(_OPERATOR, _NOBODY, Home.SCHEMA, 22),
    "SchemaBehind": Classification(_OPERATOR, _NOBODY, Home.SCHEMA, 23),
    "SchemaTooNew": Classification(_NEVER, _TEAM, Home.SCHEMA, 24),
    "MigrationFailed": Classification(_NEVER, _TEAM, Home.SCHEMA, 28),
    "ImageVersionMismatch": Classification(_NEVER, _TEAM, Home.SCHEMA, 25),
    "ImageIncomplete": Classification(_NEVER, _TEAM, Home.ANY, 49),
    # Backups
    "ServerNotFound": Classification(_OUTSIDE, _TEAM, Home.ANY),
    "BackupFailed": Classification(_NEVER, _TEAM, Home.ANY, 50),
    "BackupLate": Classification(_OUTSIDE, _TEAM, Home.ANY),
    "BackupNotFound": Classification(_OUTSIDE, _TEAM, Home.SCHEMA),
    "BackupBroken": Classification(_NEVER, _TEAM, Home.SCHEMA, 51),
    "RestoreRefused": Classification(_NEVER, _TEAM, Home.SCHEMA, 52),
    # Clients
    "NotGranted": Classification(_OUTSIDE, _TEAM, Home.ANY),
    "NotOffered": Classification(_NEVER, _TEAM, Home.ANY),
    "KubeflowMissing": Classification(_OUTSIDE, _PLATFORM, Home.ANY),
    # Pods
    "ImagePullFailed": Classification(_OUTSIDE, _PLATFORM, Home.WORKLOAD),
    "CrashLooping": Classification(_NEVER, _TEAM, Home.WORKLOAD),
    "CpuLimitTooLow": Classification(_NEVER, _TEAM, Home.WORKLOAD),
    "OutOfMemory": Classification(_NEVER, _TEAM, Home.WORKLOAD),
    "Unschedulable": Classification(_OUTSIDE, _CLUSTER, Home.WORKLOAD),
    "PodRefused": Classification(_OUTSIDE, _CLUSTER, Home.WORKLOAD),
    "ChangedByOthers": Classification(_NEVER, _PLATFORM, Home.ANY),
    "QuotaExceeded": Classification(_OUTSIDE, _CLUSTER, Home.ANY, 33),
    # The cluster
    "ApiError": Classification(_OUTSIDE, _CLUSTER, Home.ANY),
}

EXIT_CODES: Final[Mapping[str, int]] = {
    reason: row.exit_code for reason, row in OUTCOMES.items() if row.exit_code is not None
}
"""How pods end, by reason. Another reason is not believed of a pod."""

TERMINAL_EXIT_CODES: Final = tuple(
    sorted(code for reason, code in EXIT_CODES.items() if not OUTCOMES[reason].passes)
)
"""The exit codes after which no other attempt helps, so that a Job gives up. After others it tries again, and a Job that has
tried often enough is made anew."""
