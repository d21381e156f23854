"""The conditions that a resource reports, the reasons they give, and how they change over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from tracking_operator.api.base import ApiModel, map_by
from tracking_operator.foreign_text import LONGEST_CONDITION, quotable

ConditionStatus = Literal["True", "False", "Unknown"]

MAX_MESSAGE_LENGTH: Final = 32768
"""What metav1.Condition allows for a message, in characters."""


class ConditionType(StrEnum):
    """What a condition is about, in the order in which they are listed. Each says what ``True`` means."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Make a member out of its word in the API and what ``True`` means."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member

    READY = (
        "Ready",
        "The server answers, and nothing keeps it from becoming what its specification asks for (the summary). While the operator "
        "works on a change and requests are answered, it stays true; Reconciling and WorkloadReady say when the change is done.",
    )
    SPEC_VALID = "SpecValid", "The specification can be carried out: class, version and permissions allow it."
    BACKEND_STORE_READY = "BackendStoreReady", "The database for runs, parameters and metrics can be used."
    ARTIFACT_STORE_READY = "ArtifactStoreReady", "The place for artifacts and models can be used."
    SCHEMA_READY = "SchemaReady", "The database schema fits the MLflow version."
    WORKLOAD_READY = "WorkloadReady", "All replicas run what the specification asks for."
    EXPOSED = "Exposed", "Clients reach the server at the addresses in the status."
    BACKED_UP = (
        "BackedUp",
        "The backup that was due last is complete. There only with spec.maintenance.backup, from the first backup on; Ready does not "
        "depend on it.",
    )
    COMPLETE = "Complete", "Everything of the backup is stored, and can be restored."
    CONNECTED = "Connected", "Pods of the client's namespace have what they need to use the server."
    INTEGRATED = "Integrated", "Kubeflow is told what spec.integrations asks for. Absent: that is nothing."
    RESTORABLE = (
        "Restorable",
        "The backup was restored into a database that was dropped afterwards: rows as many as the manifest says, and every part as it "
        "was stored. There once spec.maintenance.backup.verifyEvery of the server has had it tried.",
    )
    RECONCILING = "Reconciling", "The operator is still working on the latest change (kstatus)."
    STALLED = "Stalled", "The operator cannot go on until somebody changes something (kstatus)."


PRESENT_WHILE_TRUE: Final = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})
"""Conditions that are left out of the status instead of being ``False``, as kstatus expects."""


class Reason(StrEnum):
    """Why a condition is as it is: one enum for all conditions and Events.

    Each member has the word that machines compare, ``when`` it is given, and the ``remedy``: what a
    person should do (empty: nothing).
    """

    when: str
    remedy: str

    def __new__(cls, word: str, when: str, remedy: str = "") -> Self:
        """Make a member out of its word in the API, when it is given, and what to do about it."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.when = when
        member.remedy = remedy
        return member

    # All is well
    AS_EXPECTED = "AsExpected", "Everything is as the specification asks."
    WORKLOAD_AVAILABLE = "WorkloadAvailable", "All replicas are updated and available."
    REACHABLE = "Reachable", "A request to the API with the host that people use got 200."
    REACHABLE_IN_CLUSTER = "ReachableInCluster", "A request to the API through the Service got 200."
    NOT_PROBED = (
        "NotProbed",
        "The class says access.probe: None, so that nobody has asked whether the server answers.",
    )
    UPGRADE_AVAILABLE = (
        "UpgradeAvailable",
        "The class's default version is newer than the one that this server runs. Servers are never upgraded by themselves.",
        "Set spec.version to the newer version when it suits you.",
    )
    USAGE_ABOVE_LIMIT = (
        "UsageAboveLimit",
        "The server has more in its store than its class allows (limits.maxDatabaseSize, limits.maxArtifactBytes). Nothing is stopped.",
        "Delete runs and artifacts and have mlflow gc remove them, or ask the platform team for a higher limit.",
    )

    # Working on it
    PENDING = (
        "Pending",
        "An earlier step has not finished, so this one has not been looked at.",
        "See the other conditions.",
    )
    PROGRESSING = "Progressing", "The latest change is being carried out."
    VOLUME_PENDING = (
        "VolumePending",
        "A volume is not bound yet.",
        "Nothing in the first minute. After that the server is Stalled, and the message names the StorageClasses that there are "
        "and what the provisioner says.",
    )
    ADDRESS_CHANGING = (
        "AddressChanging",
        "The server moves to another host or path (an Event). Until all its pods are replaced, the old one is in use.",
        "Use the new address from then on.",
    )
    ROLLOUT_IN_PROGRESS = "RolloutInProgress", "New pods start, or old ones end."
    DELETING = "Deleting", "The resource is being deleted, and what it owns is being removed."

    # Somebody decided so
    SUSPENDED = (
        "Suspended",
        "spec.suspend is true, spec.replicas is 0, or the server sleeps by spec.sleep: no pods run, all data is kept.",
        "`kubectl tracking wake NAME`: set spec.suspend to false and spec.replicas to 1 or more; of a server that sleeps by "
        "spec.sleep, set the annotation tracking-operator.dev/wake to any new value.",
    )
    NAMESPACE_TERMINATING = (
        "NamespaceTerminating",
        "The namespace is being deleted, so nothing new can be created in it.",
    )

    # The specification cannot be carried out
    INVALID_SPEC = (
        "InvalidSpec",
        "The specification contradicts itself or cannot be read.",
        "Change the field that the message names.",
    )
    AMBIGUOUS_TEMPLATE = (
        "AmbiguousTemplate",
        "Naming templates of the class may give two servers one host, role, Secret or prefix, such as {{ name }}-{{ namespace }}: "
        "'b' in 'mlflow-a' and 'b-mlflow' in 'a' look alike then. Hosts, roles and Secrets are refused for that.",
        "Have the platform team put a character between the values that neither can hold, such as '.' or '/': "
        "{{ name }}.{{ namespace }}.mlflow.example.com.",
    )
    CLASS_NOT_FOUND = (
        "ClassNotFound",
        "There is no TrackingServerClass of the name in spec.className.",
        "Use one that `kubectl get trackingserverclasses` lists, or ask the platform team for it.",
    )
    MULTIPLE_DEFAULT_CLASSES = (
        "MultipleDefaultClasses",
        "More than one class is annotated as the default, so none is chosen.",
        "Set spec.className, or have the platform team annotate only one class.",
    )
    NAMESPACE_NOT_ALLOWED = (
        "NamespaceNotAllowed",
        "The class's allowedNamespaces does not select this namespace.",
        "Use another class, or have the platform team label the namespace.",
    )
    VERSION_NOT_OFFERED = (
        "VersionNotOffered",
        "The class (or the operator's built-in table) has no image for spec.version.",
        "Use a version that the message lists, or have the platform team add it to the class.",
    )
    NOT_PERMITTED = (
        "NotPermitted",
        "The specification uses something that the class's permissions do not allow.",
        "Remove the field that the message names, or have the platform team permit it in the class.",
    )
    LIMIT_EXCEEDED = (
        "LimitExceeded",
        "The specification asks for more than the class's limits allow.",
        "Ask for less, or have the platform team raise the limit that the message names.",
    )
    RESOLVED_DIFFERS = (
        "ResolvedDiffers",
        "The class or the specification would now put the data elsewhere; the server keeps what was decided when it was created.",
        "Nothing, to keep the data. To start with an empty store: name it in the specification and set the "
        'annotation tracking-operator.dev/allow-empty-store to "true".',
    )
    DOWNGRADE_REFUSED = (
        "DowngradeRefused",
        "spec.version is older than the version that the database was brought up to; an older MLflow cannot read it.",
        "Set spec.version back to at least the version in the status.",
    )
    CONFLICT = (
        "Conflict",
        "Something of the needed name exists already and does not belong to this server, or another server has the address. "
        "It is left alone.",
        "Rename or remove it, or rename the server; choose another host or path.",
    )
    AMBIGUOUS_MARKS = (
        "AmbiguousMarks",
        "It is not recorded where the server's data is, as after its status was lost, and several databases or prefixes carry its "
        "mark. Nothing is made or changed.",
        "Have the platform team remove the marks of those that do not hold its data: COMMENT ON DATABASE … IS NULL, or the object "
        ".tracking-operator/prefixes/PREFIX/owner.json.",
    )
    SECRET_NOT_FOUND = (
        "SecretNotFound",
        "A Secret that the specification names does not exist in this namespace.",
        "Create it; the operator looks again by itself.",
    )
    SECRET_KEY_MISSING = (
        "SecretKeyMissing",
        "A Secret that the specification names lacks the key, or the key is empty.",
        "Add the key; the operator looks again by itself.",
    )
    UNSUPPORTED_URI = (
        "UnsupportedUri",
        "The database URI names a dialect or driver that MLflow or the image does not have.",
        "Use a URI such as postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE.",
    )

    # Stores
    STORE_UNREACHABLE = (
        "StoreUnreachable",
        "The store does not answer.",
        "Check host, port, firewall and NetworkPolicy; the operator goes on trying.",
    )
    STORE_FAILED = (
        "StoreFailed",
        "The store answers with an error of its own.",
        "Look into the store's log; the operator goes on trying.",
    )
    LOGIN_REFUSED = (
        "LoginRefused",
        "The store refuses the credentials; in Exposed: MLflow's own login refuses the operator's.",
        "Correct the credentials in the Secret that the message names.",
    )
    HOST_NOT_FOUND = (
        "HostNotFound",
        "The host name of the store does not resolve.",
        "Correct the host in the class, or the DNS; the operator goes on trying.",
    )
    TLS_FAILED = (
        "TlsFailed",
        "The store's TLS certificate does not verify, or one side asks for TLS and the other has none.",
        "Correct the class's or the external store's host and caConfigMapRef, the class's sslMode, or the server's certificate.",
    )
    SERVER_TOO_OLD = (
        "ServerTooOld",
        "The database server is older than PostgreSQL 15.",
        "Upgrade it, or name another server in the class.",
    )
    INSUFFICIENT_PRIVILEGES = (
        "InsufficientPrivileges",
        "The admin of the class, at its database server or object store, lacks a privilege that provisioning needs.",
        "Grant what the message names: a statement for a superuser of the database server, or an action for the bucket.",
    )
    SUPERUSER_REFUSED = (
        "SuperuserRefused",
        "The admin login of the class is a superuser.",
        "Use a login that has only CREATEROLE and CREATEDB, or set allowSuperuser to true in the class.",
    )
    ADMIN_IS_NOT_OWNER = (
        "AdminIsNotOwner",
        "The database or its roles belong to another admin login than the class names now.",
        "Grant the old admin login to the new one, as the message shows, or name the old one in the class.",
    )
    TOO_MANY_CONNECTIONS = (
        "TooManyConnections",
        "The database server, or the role, has no free connection slot.",
        "Raise max_connections of the server or connectionLimit, or end connections; the operator goes on trying.",
    )
    DISK_FULL = (
        "DiskFull",
        "The store has no space left, or a quota of space is used up.",
        "Give it more; the operator goes on trying.",
    )
    BUSY = (
        "Busy",
        "The store has too much to do, or something holds a lock; the operator goes on trying.",
    )
    ISOLATION_NOT_PROVED = (
        "IsolationNotProved",
        "What the store grants is not what it was told to grant, so others might get in, or the server gets out of its prefix.",
        "Take away what the message names: as the database's owner or a superuser, or from the identity's policies.",
    )
    SESSION_SETTINGS_DROPPED = (
        "SessionSettingsDropped",
        "Sessions do not begin with the settings that they ask for, so a tenant might decide what their statements mean: "
        "a connection pooler is in between. Nothing more is sent.",
        "Name the database server itself in the class's postgres.host and postgres.port.",
    )
    ANSWER_TOO_LARGE = (
        "AnswerTooLarge",
        "The database answers with more than such a question ever needs. The answer was not read to its end.",
        "Look at what was put into the database; the operator goes on trying.",
    )
    UNEXPECTED_SCHEMA = (
        "UnexpectedSchema",
        "A table of MLflow's is not as MLflow makes it, so reading it might run what somebody put there. It was not read.",
        "Put the table that the message names right, as the server's own login.",
    )
    SCHEMA_PRIVILEGES_LOST = (
        "SchemaPrivilegesLost",
        "The server's role may not make tables in its database any more. The operator does not enter a database that a team can "
        "enter.",
        "Run the statement that the message names in that database, as its owner or a superuser.",
    )
    BUCKET_NOT_FOUND = (
        "BucketNotFound",
        "The class's bucket does not exist.",
        "Create it, correct the class's s3.bucket, or have the class create it with s3.create.",
    )
    BUCKET_ELSEWHERE = (
        "BucketElsewhere",
        "The class's bucket is in another region, or belongs to another account.",
        "Correct the class's s3.region or s3.bucket as the message says.",
    )
    BUCKET_POLICY_FULL = (
        "BucketPolicyFull",
        "The bucket's policy has no room for another server: S3 allows 20 KB.",
        "Use a second class with another bucket, or isolation abac, which needs nothing per server.",
    )
    PREFIX_TAKEN = (
        "PrefixTaken",
        "There are objects under the prefix that do not carry this server's mark, or the prefix lies within another one's. "
        "Nothing was written.",
        "Rename the server, or move the objects away.",
    )
    PREFIX_LOST = (
        "PrefixLost",
        "The bucket, or the mark of the server's prefix in it, is gone, and perhaps the artifacts with it.",
        "Restore the bucket, or allow the store to be empty.",
    )
    IDENTITY_PENDING = (
        "IdentityPending",
        "The server's identity is so fresh that the object store does not know it everywhere yet.",
    )
    IDENTITY_NOT_FOUND = (
        "IdentityNotFound",
        "The identity that the server is to use does not exist.",
        "Create the role or user that the message names, or correct the class's s3.identity.",
    )
    ACCESS_DENIED = (
        "AccessDenied",
        "The object store denies the server's identity something that it needs under its own prefix.",
        "Look at the policies of the identity and of the bucket; the message names the request that was denied.",
    )
    REACHES_BEYOND_PREFIX = (
        "ReachesBeyondPrefix",
        "The keys that the team has brought can be used outside of the server's prefix, too.",
        "Ask the platform team for keys that end at the prefix.",
    )
    CHECK_FAILED = (
        "CheckFailed",
        "The Job that tries the artifact store out ended without saying why.",
        "Read the log of its pod; delete the Job to have it run again.",
    )
    ENCRYPTION_KEY_LOST = (
        "EncryptionKeyLost",
        "What MLflow has encrypted in the database cannot be read with the keys of the Secret NAME-encryption. The server runs all the "
        "same.",
        "Restore the Secret from a backup and restart the pods, or delete the API keys of MLflow's AI gateway and enter them again.",
    )
    DATABASE_LOST = (
        "DatabaseLost",
        "The database of the server is gone, and the data with it.",
        "Restore it under the same name, or name another store and allow it to be empty.",
    )
    CONNECTION_BUDGET_TOO_SMALL = (
        "ConnectionBudgetTooSmall",
        "The connection limit is too small for the replicas and workers.",
        "Raise connectionLimit to the number that the message names, or lower replicas or workers.",
    )
    ROTATING_CREDENTIALS = (
        "RotatingCredentials",
        "The server goes from one login or access key to another; both work until all pods use the new one.",
    )
    REVOKING_ACCESS = (
        "RevokingAccess",
        "Access is being ended, as the annotation revoke-now asks for, and something that was handed out before may still work.",
        "See the message; the operator goes on trying.",
    )
    ACCESS_REVOKED = (
        "AccessRevoked",
        "Nothing that was handed out before the annotation revoke-now lets anybody in any more (Event).",
    )
    DELETION_BLOCKED = (
        "DeletionBlocked",
        "What the server keeps outside of Kubernetes could not be removed yet.",
        "See the message; the operator goes on trying. To let go of it: set the annotation "
        'tracking-operator.dev/force-orphan to "true".',
    )
    VOLUME_FULL = (
        "VolumeFull",
        "A volume has no space left.",
        "Raise its size in the specification, where the StorageClass can expand volumes, or delete runs and artifacts.",
    )

    VOLUME_CANNOT_GROW = (
        "VolumeCannotGrow",
        "A larger size was asked for, but the volume's StorageClass cannot expand volumes. The server goes on with the size it has.",
        "Have the platform team set allowVolumeExpansion, or move the data to a larger volume.",
    )
    VOLUME_CANNOT_SHRINK = (
        "VolumeCannotShrink",
        "A smaller size was asked for than the volume has. The server goes on with the size it has.",
        "Set the field that the message names to that size or more, or remove it.",
    )
    VOLUME_LOST = (
        "VolumeLost",
        "The volume behind a claim is gone, and the data with it.",
        "Restore the volume, or delete the claim to begin with an empty store.",
    )

    # Access
    NOT_REACHABLE = (
        "NotReachable",
        "The server's Service gives no answer to the operator.",
        "Look at NetworkPolicies that keep the operator out, and at the log of the server's pods.",
    )
    HOST_REFUSED = (
        "HostRefused",
        "MLflow refuses requests with the Host header that people send.",
        "Add it to spec.access.allowedHosts.",
    )
    ADDRESS_PENDING = (
        "AddressPending",
        "No Ingress controller has given the Ingress an address yet, or no Gateway has taken up the route.",
        "Look at the Ingress (or HTTPRoute) and at the log of its controller.",
    )
    INGRESS_CLASS_NOT_FOUND = (
        "IngressClassNotFound",
        "The class names an IngressClass that the cluster does not have, or the cluster has no default one.",
        "Have the platform team install the Ingress controller, or correct access.ingress.className of the class.",
    )
    TLS_SECRET_NOT_FOUND = (
        "TlsSecretNotFound",
        "The Secret with the Ingress's certificate is not in the server's namespace.",
        "Create it there, or have cert-manager make it; the operator looks again by itself.",
    )
    GATEWAY_API_MISSING = (
        "GatewayApiMissing",
        "The class has a Gateway, but the cluster does not know HTTPRoutes.",
        "Have the platform team install the Gateway API; the operator looks again by itself.",
    )
    GATEWAY_NOT_FOUND = (
        "GatewayNotFound",
        "The class names a Gateway that the cluster does not have, or a listener that the Gateway does not have.",
        "Have the platform team create it, or correct access.gateway.parentRef of the class; the operator looks again by itself.",
    )
    ROUTE_NOT_ACCEPTED = (
        "RouteNotAccepted",
        "The Gateway refuses the server's HTTPRoute.",
        "The message has the gateway's own words; correct the class's parentRef, or the Gateway's listeners.",
    )
    PATH_NOT_FOUND = (
        "PathNotFound",
        "The pods serve no API at the server's path.",
        "Nothing while pods are being replaced; else look at spec.image and spec.podTemplate.env.",
    )
    ANSWERS_WITH_ERROR = (
        "AnswersWithError",
        "The API answers with an error, for example because its database is away.",
        "Look at the backend store and at the log of the server's pods; the operator goes on trying.",
    )
    IDENTITY_PROVIDER_UNREACHABLE = (
        "IdentityProviderUnreachable",
        "The identity provider at which people log in cannot be reached from the pods, has a certificate that does not verify, or "
        "calls itself something else.",
        "Correct issuer or caBundleRef of access.authentication.oidc in the class; the operator goes on trying. Pods that run go on.",
    )
    IDENTITY_PROVIDER_REFUSES_CLIENT = (
        "IdentityProviderRefusesClient",
        "The identity provider does not know the server's client, or takes its secret for a wrong one.",
        "Register the client that the message names at the provider, or correct its Secret in the server's namespace.",
    )

    # Schema
    SCHEMA_MISSING = (
        "SchemaMissing",
        "A pod has met a database without an MLflow schema.",
        "Nothing: the migration Job makes it.",
    )
    SCHEMA_BEHIND = (
        "SchemaBehind",
        "A pod has met a database whose schema is older than the MLflow version needs.",
        "Nothing: the migration Job brings it up.",
    )
    SCHEMA_TOO_NEW = (
        "SchemaTooNew",
        "A newer MLflow has changed the database schema; this version cannot use it.",
        "Set spec.version to the newer version.",
    )
    MIGRATION_FAILED = (
        "MigrationFailed",
        "Bringing the database schema up to the MLflow version failed.",
        "Read the message and the log of the container that it names; the data is as it was before, or in the copy beside it.",
    )
    IMAGE_VERSION_MISMATCH = (
        "ImageVersionMismatch",
        "The image holds another MLflow version than spec.version says.",
        "Make spec.version and spec.image agree.",
    )
    IMAGE_INCOMPLETE = (
        "ImageIncomplete",
        "The image has no python3 in its PATH, or not all modules that the server's stores need, such as psycopg2.",
        "Take an image that has what the message names; the class's own images have all of it.",
    )

    # Backups
    SERVER_NOT_FOUND = (
        "ServerNotFound",
        "There is no TrackingServer of the name in spec.serverRef, or its data is not placed yet.",
        "Make the server, or delete the backup and make one that names another server.",
    )
    BACKUP_FAILED = (
        "BackupFailed",
        "The backup could not be taken, in as many attempts as one has. What was stored of it is removed.",
        "Read the message, put right what it names, delete the backup and make another one.",
    )
    BACKUP_LATE = (
        "BackupLate",
        "The backup that was due last is not complete an hour later. It goes on; no other one is begun meanwhile.",
        "Look at what the backup waits for: its condition Complete says it.",
    )
    BACKUP_NOT_FOUND = (
        "BackupNotFound",
        "spec.bootstrap.fromBackup names no TrackingServerBackup of this namespace that is Complete. The new server waits, and "
        "its stores stay empty.",
        "Wait until the backup is Complete, or name another one.",
    )
    BACKUP_BROKEN = (
        "BackupBroken",
        "A stored backup is not what was stored: a part is missing, or its SHA-256 is another one. Nothing of it is used.",
        "Take another backup, or restore the objects that the message names.",
    )
    RESTORE_REFUSED = (
        "RestoreRefused",
        "The new server's database or prefix holds something already, as of an earlier server of its name. It is left alone.",
        "Give the server another name, or remove spec.bootstrap to use what is there.",
    )

    # Clients
    NOT_GRANTED = (
        "NotGranted",
        "No TrackingServer of this namespace and name grants what the TrackingServerClient asks for. Whether there is one is not told.",
        "Ask the owner of the server to name your namespace in spec.access.clients, or correct spec.serverRef and spec.permission.",
    )
    NOT_OFFERED = (
        "NotOffered",
        "The owner grants it, but the server cannot let a client in like that: its login has no such permission, say.",
        "The message says what to ask for instead, or what the owner has to change.",
    )
    KUBEFLOW_MISSING = (
        "KubeflowMissing",
        "spec.integrations.kubeflow.podDefault asks for a PodDefault, and the cluster does not know the kind. Pods can use the client "
        "nevertheless.",
        "Install Kubeflow's PodDefault webhook, or remove the field.",
    )

    # Pods
    IMAGE_PULL_FAILED = (
        "ImagePullFailed",
        "The node cannot pull the image.",
        "Check the image's name and podTemplate.imagePullSecrets.",
    )
    CRASH_LOOPING = (
        "CrashLooping",
        "The server ends again and again soon after its start.",
        "Read its log: `kubectl logs deployment/NAME --previous`.",
    )
    CPU_LIMIT_TOO_LOW = (
        "CpuLimitTooLow",
        "The server's CPU limit is so small that MLflow does not come up in the time that a start may take.",
        "Raise spec.resources.limits.cpu, or remove it.",
    )
    OUT_OF_MEMORY = (
        "OutOfMemory",
        "The server was ended because it used more memory than its limit.",
        "Raise spec.resources.limits.memory, or lower spec.workers (each takes about 250 MiB more).",
    )
    UNSCHEDULABLE = (
        "Unschedulable",
        "No node can take the pod.",
        "Lower spec.resources.requests, or correct the scheduling fields of spec.podTemplate.",
    )
    POD_REFUSED = (
        "PodRefused",
        "The API server refuses to create the pod (Pod Security, an admission webhook, a missing priority class).",
        "The message says what refused it and why.",
    )
    CHANGED_BY_OTHERS = (
        "ChangedByOthers",
        "Something else in the cluster, such as a mutating admission policy, changes an object of the server right after every "
        "write. After three tries it is left as it is.",
        "Ask for what the policy makes, or have it leave the object out; the message names the difference.",
    )
    QUOTA_EXCEEDED = (
        "QuotaExceeded",
        "The namespace's ResourceQuota, or a quota of the object store's identities, leaves no room.",
        "Ask for less, or have the quota raised; the message says which field helps.",
    )

    # The cluster
    API_ERROR = (
        "ApiError",
        "The Kubernetes API server refused or did not answer a request of the operator.",
        "The message says which request; the operator goes on trying.",
    )


def reason_of(word: str) -> Reason:
    """Return the reason that is called so. Raises KeyError: none is."""
    return _BY_WORD[word]


_BY_WORD: Final = {reason.value: reason for reason in Reason}


@dataclass(frozen=True)
class WantedCondition:
    """What a reconcile found out about one condition: everything but its history.

    ``status`` is True, False, or None for "not known".
    """

    type: ConditionType
    status: bool | None
    reason: Reason
    message: str = ""


class Condition(ApiModel):
    """One condition of a resource: a standard metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """What the condition is about, for example Ready."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """The metadata.generation that the condition was found for. Older than the resource's own: out of date."""
    last_transition_time: Annotated[datetime, Field(json_schema_extra={"maxLength": 64})]
    """When the status last changed from one value to another."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, in one word that programs can compare."""
    message: Annotated[str, Field(max_length=MAX_MESSAGE_LENGTH)]
    """Why, in a sentence for people that says what to do. May be empty."""

    @property
    def is_true(self) -> bool:
        """Whether the condition holds."""
        return self.status == "True"


Conditions = Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=map_by("type"))]
"""The conditions of a resource: one of each type."""


def find_condition(conditions: Sequence[Condition], type_: ConditionType) -> Condition | None:
    """Return the condition of this type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def merge_conditions(
    previous: Sequence[Condition],
    wanted: Sequence[WantedCondition],
    *,
    observed_generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions to store: what is ``wanted``, with the history of ``previous``.

    The time of the last transition (whole seconds, UTC) is kept as long as the status is the same, and
    is ``now`` otherwise. ``wanted`` is the whole set: a type that it does not name is not in the result
    (conditions of other writers are theirs to keep), and neither are Reconciling and Stalled unless true.
    The order is that of :class:`ConditionType`, so equal input gives an equal status.

    Raises ValueError if a type is wanted twice.
    """
    by_type = {condition.type: condition for condition in wanted}
    if len(by_type) != len(wanted):
        raise ValueError(f"each condition may be wanted once, not {[str(one.type) for one in wanted]}")
    return tuple(
        _with_history(by_type[type_], find_condition(previous, type_), observed_generation, now)
        for type_ in ConditionType
        if type_ in by_type and (by_type[type_].status or type_ not in PRESENT_WHILE_TRUE)
    )


def _with_history(
    wanted: WantedCondition, previous: Condition | None, observed_generation: int, now: datetime
) -> Condition:
    status = _status_word(wanted.status)
    unchanged = previous is not None and previous.status == status
    return Condition(
        type=wanted.type.value,
        status=status,
        observed_generation=observed_generation,
        last_transition_time=previous.last_transition_time
        if previous is not None and unchanged
        else now.astimezone(UTC).replace(microsecond=0),
        reason=wanted.reason.value,
        message=quotable(wanted.message, LONGEST_CONDITION),
    )


def _status_word(status: bool | None) -> ConditionStatus:
    if status is None:
        return "Unknown"
    return "True" if status else "False"
