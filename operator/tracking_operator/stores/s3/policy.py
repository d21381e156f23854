"""Policy documents: what each server is granted, and how that is merged with what others have written. Pure.

AWS's reference of the language: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html.
S3 gives a document back with other white space and order of keys, and lists of one element as strings, so that
documents are compared by ``meaning_of``.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid
from tracking_operator.stores.s3.tenant import PolicyShare, Tenant, cluster_part

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]
Statement = Mapping[str, Json]
Document = Mapping[str, Json]

VERSION: Final = "2012-10-17"
EMPTY: Final[Document] = {"Version": VERSION, "Statement": []}

LARGEST_DOCUMENT: Final = 19_500
"""In bytes of compact JSON. S3 refuses more than 20 KB, and counts white space that AWS may add."""

LIST_ACTIONS: Final = ("s3:ListBucket",)
OBJECT_ACTIONS: Final = (
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)
LIST_ACTIONS_OF_DELETION: Final = ("s3:ListBucketVersions",)
OBJECT_ACTIONS_OF_DELETION: Final = ("s3:DeleteObjectVersion",)

DENY_PLAIN_HTTP: Final = "trkDenyPlainHttp"
DENY_UNENCRYPTED: Final = "trkDenyUnencrypted"
DENIES: Final = frozenset({DENY_PLAIN_HTTP, DENY_UNENCRYPTED})
"""The statements that are there once for all servers of a bucket."""
ABAC_SID: Final = "trkAbac"
_SERVER_SID: Final = re.compile("trk([0-9a-f]{8})([0-9a-f]{16})[A-Z]")
_DEAD_PRINCIPAL: Final = re.compile("(AIDA|AROA)[A-Z0-9]{12,}")
"""What S3 puts in the place of a user or role that is gone, by the prefixes of IAM's unique identifiers."""

TAG_OF_NAMESPACE: Final = "kubernetes-namespace"
TAG_OF_SERVICE_ACCOUNT: Final = "kubernetes-service-account"
TAG_OF_EKS_CLUSTER: Final = "eks-cluster-name"


@dataclass(frozen=True)
class PolicyPrincipals:
    """Whom a statement lets in: users or roles by name, and a condition where the names alone are not enough."""

    names: tuple[str, ...]
    path: str | None = None
    """With the name ``*``: the pattern of ARNs that are let in, for example of all users under a path."""

    @property
    def element(self) -> dict[str, Json]:
        """The element ``Principal``."""
        return {"AWS": self.names[0] if len(self.names) == 1 else list(self.names)}

    @property
    def condition(self) -> dict[str, dict[str, Json]]:
        """What the request has to fulfil, by operator."""
        if self.path is None:
            return {}
        account = self.path.split(":")[4]
        return {
            "ArnLike": {"aws:PrincipalArn": self.path},
            "StringEquals": {"aws:PrincipalAccount": account},
        }


# What servers are granted


def bucket_arn(bucket: str, partition: str = "aws") -> str:
    """The name of a bucket in a policy."""
    return f"arn:{partition}:s3:::{bucket}"


def partition_of(region: str) -> str:
    """The part of AWS that a region is in, as its ARNs name it."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def server_statements(
    tenant: Tenant,
    principals: PolicyPrincipals,
    *,
    partition: str = "aws",
    deletes: bool = False,
    require_encryption: str | None = None,
) -> tuple[Statement, ...]:
    """What lets one server into its prefix and nowhere else: a pair, and a deny where encryption is required.

    ``prefix/*`` covers ``prefix/`` too, as ``*`` stands for nothing as well; ``prefix*`` would let it into its
    neighbours.
    """
    pair = [
        {**statement, "Sid": f"{tenant.sid}{letter}", "Principal": principals.element}
        for letter, statement in zip("LO", _grants(tenant, partition, deletes=deletes), strict=True)
    ]
    denied = [_deny_unencrypted(tenant, partition, require_encryption)] if require_encryption else []
    return tuple(_in_order(statement) for statement in (*pair, *denied))


def identity_policy(tenant: Tenant, *, partition: str = "aws", deletes: bool = False) -> Document:
    """The inline policy of an identity: the same grants, without a principal."""
    return {"Version": VERSION, "Statement": list(_grants(tenant, partition, deletes=deletes))}


def bucket_denies(bucket: str, *, uses_tls: bool, partition: str = "aws") -> tuple[Statement, ...]:
    """What is denied to everybody in a bucket of ours: requests without TLS, where the endpoint has it."""
    if not uses_tls:
        return ()
    arn = bucket_arn(bucket, partition)
    deny: Statement = {
        "Sid": DENY_PLAIN_HTTP,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return (deny,)


def abac_statements(
    bucket: str,
    cluster: str,
    principals: PolicyPrincipals | None,
    *,
    eks_cluster_name: str | None = None,
    require_encryption: str | None = None,
    partition: str = "aws",
) -> tuple[Statement, ...]:
    """What lets any number of servers in: each into the prefix that the tags of its identity spell.

    EKS Pod Identity sets these tags on the sessions of a role
    (https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html); our own IAM users carry the first two.
    Without ``principals`` it is for the policies of a role, not for a bucket's.
    """
    arn = bucket_arn(bucket, partition)
    home = f"${{aws:PrincipalTag/{TAG_OF_NAMESPACE}}}/${{aws:PrincipalTag/{TAG_OF_SERVICE_ACCOUNT}}}"
    limits: dict[str, dict[str, Json]] = dict(principals.condition) if principals else {}
    if eks_cluster_name:
        tag = {f"aws:PrincipalTag/{TAG_OF_EKS_CLUSTER}": eks_cluster_name}
        limits["StringEquals"] = {**limits.get("StringEquals", {}), **tag}
    who: dict[str, Json] = {"Principal": principals.element} if principals else {}
    listing: Statement = {
        "Sid": "L",
        "Effect": "Allow",
        **who,
        "Action": LIST_ACTIONS[0],
        "Resource": arn,
        "Condition": {**limits, "StringLike": {"s3:prefix": f"{home}/*"}},
    }
    objects: Statement = {
        "Sid": "O",
        "Effect": "Allow",
        **who,
        "Action": list(OBJECT_ACTIONS),
        "Resource": f"{arn}/{home}/*",
    }
    if limits:
        objects = {**objects, "Condition": limits}
    sid = abac_sid(cluster, principals, eks_cluster_name)
    named: tuple[Statement, ...] = tuple({**one, "Sid": f"{sid}{one['Sid']}"} for one in (listing, objects))
    if not (require_encryption and principals):
        return named
    return (*named, _deny_other_encryption(DENY_UNENCRYPTED, f"{arn}/*", require_encryption))


def abac_sid(cluster: str, principals: PolicyPrincipals | None, eks_cluster_name: str | None) -> str:
    """What the names of the statements for tags begin with: they differ where those who are let in differ."""
    who = (principals.names, principals.path) if principals else ()
    return f"{ABAC_SID}{cluster_part(cluster)}{cluster_part(repr((who, eks_cluster_name)))}"


def abac_deletion_statements(
    tenant: Tenant,
    principals: PolicyPrincipals,
    *,
    eks_cluster_name: str | None = None,
    partition: str = "aws",
) -> tuple[Statement, ...]:
    """What one server may do beyond the statements for tags while its prefix is being emptied."""
    tags: dict[str, Json] = {
        f"aws:PrincipalTag/{TAG_OF_NAMESPACE}": tenant.mark.namespace,
        f"aws:PrincipalTag/{TAG_OF_SERVICE_ACCOUNT}": tenant.mark.name,
    }
    if eks_cluster_name:
        tags[f"aws:PrincipalTag/{TAG_OF_EKS_CLUSTER}"] = eks_cluster_name
    arn = bucket_arn(tenant.bucket, partition)
    common = dict(principals.condition)
    limits = {**common, "StringEquals": {**common.get("StringEquals", {}), **tags}}
    listing: Statement = {
        "Sid": f"{tenant.sid}V",
        "Effect": "Allow",
        "Principal": principals.element,
        "Action": LIST_ACTIONS_OF_DELETION[0],
        "Resource": arn,
        "Condition": {**limits, "StringLike": {"s3:prefix": f"{tenant.folder}*"}},
    }
    objects: Statement = {
        "Sid": f"{tenant.sid}W",
        "Effect": "Allow",
        "Principal": principals.element,
        "Action": OBJECT_ACTIONS_OF_DELETION[0],
        "Resource": f"{arn}/{tenant.folder}*",
        "Condition": limits,
    }
    return listing, objects


def _grants(tenant: Tenant, partition: str, *, deletes: bool) -> tuple[Statement, Statement]:
    arn = bucket_arn(tenant.bucket, partition)
    list_actions = [*LIST_ACTIONS, *(LIST_ACTIONS_OF_DELETION if deletes else ())]
    listing: Statement = {
        "Effect": "Allow",
        "Action": list_actions if deletes else list_actions[0],
        "Resource": arn,
        "Condition": {"StringLike": {"s3:prefix": f"{tenant.folder}*"}},
    }
    objects: Statement = {
        "Effect": "Allow",
        "Action": [*OBJECT_ACTIONS, *(OBJECT_ACTIONS_OF_DELETION if deletes else ())],
        "Resource": f"{arn}/{tenant.folder}*",
    }
    return listing, objects


def _deny_unencrypted(tenant: Tenant, partition: str, algorithm: str) -> Statement:
    # Within the prefix only: what others upload to the bucket is theirs to decide.
    resource = f"{bucket_arn(tenant.bucket, partition)}/{tenant.folder}*"
    return _deny_other_encryption(f"{tenant.sid}E", resource, algorithm)


def _deny_other_encryption(sid: str, resource: str, algorithm: str) -> Statement:
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": resource,
        "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": algorithm}},
    }


def _in_order(statement: Statement) -> Statement:
    order = ("Sid", "Effect", "Principal", "Action", "Resource", "Condition")
    return {key: statement[key] for key in order if key in statement}


# Whose statements are whose


def parsed(text: str) -> Document:
    """Read a document. Raises ValueError: it is no JSON object."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("a policy is a JSON object")
    return found


def statements_of(document: Document) -> list[Statement]:
    """The statements; a document may hold a single one without a list."""
    found = document.get("Statement", [])
    return [found] if isinstance(found, Mapping) else cast("list[Statement]", found)


def sid_of(statement: Statement) -> str:
    """The statement's name; empty if it has none."""
    found = statement.get("Sid")
    return found if isinstance(found, str) else ""


def is_of(statement: Statement, tenant: Tenant) -> bool:
    """Whether a statement was made for this server, by whatever release of the operator."""
    found = _SERVER_SID.fullmatch(sid_of(statement))
    return found is not None and sid_of(statement).startswith(tenant.sid)


def is_of_a_server(statement: Statement) -> bool:
    """Whether a statement was made for some server, of any cluster."""
    return _SERVER_SID.fullmatch(sid_of(statement)) is not None


def lets_servers_in(statement: Statement) -> bool:
    """Whether a statement was made for a server, or for all whose tags fit."""
    return is_of_a_server(statement) or sid_of(statement).startswith(ABAC_SID)


def server_in(statement: Statement, cluster: str) -> str | None:
    """The ``server_part`` of the server of ``cluster`` that a statement was made for; None if it was not."""
    found = _SERVER_SID.fullmatch(sid_of(statement))
    return found[2] if found and found[1] == cluster_part(cluster) else None


def names_in(statement: Statement) -> tuple[str, ...]:
    """The names of a statement's principals; none if it is for everybody."""
    principal = statement.get("Principal")
    if not isinstance(principal, Mapping):
        return ()
    found = principal.get("AWS", ())
    names = (found,) if isinstance(found, str) else cast("Sequence[str]", found)
    return tuple(name for name in names if name != "*")


def dead_names_in(statement: Statement) -> tuple[str, ...]:
    """The principals of a statement that S3 itself says are gone."""
    return tuple(name for name in names_in(statement) if _DEAD_PRINCIPAL.fullmatch(name))


# Changing a document


def merged(document: Document, removed: Iterable[Statement], wanted: Iterable[Statement]) -> Document:
    """The document with ``removed`` gone and ``wanted`` in it; everything else as it was, in its order.

    A wanted statement takes the place of the one with its name, or comes last.
    """
    going = [id(statement) for statement in removed]
    missing = {sid_of(statement): statement for statement in wanted}
    result: list[Statement] = []
    for statement in statements_of(document):
        replacement = missing.pop(sid_of(statement), None) if sid_of(statement) else None
        if replacement is not None:
            same = meaning_of(replacement) == meaning_of(statement)
            result.append(statement if same else replacement)
        elif id(statement) not in going:
            result.append(statement)
    return {
        **document,
        "Version": document.get("Version", VERSION),
        "Statement": [*result, *missing.values()],
    }


def compact(document: Document) -> str:
    """The document without white space, as it is sent."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def require_room(document: Document, before: Document, where: str) -> None:
    """Make sure that a document is not too large for S3. One that only becomes smaller is never refused.

    Raises:
        Invalid: with the reason BucketPolicyFull.

    """
    size = len(compact(document).encode())
    if size <= LARGEST_DOCUMENT or size <= len(compact(before).encode()):
        return
    servers = len({sid_of(one)[:-1] for one in statements_of(before) if is_of_a_server(one)})
    raise Invalid(
        Reason.BUCKET_POLICY_FULL,
        f"The policy of bucket {where} has no room for another server: it would take {size:,} of the {LARGEST_DOCUMENT:,} bytes "
        f"that the operator uses (S3 allows 20 KB), and {servers} servers are in it. Use a second class with another "
        "bucket, or isolation abac, which needs nothing per server. Nothing was written.",
    )


def require_share(document: Document, share: PolicyShare, namespace: str, where: str) -> None:
    """Make sure that the servers of a namespace have no more of a document than their share.

    Raises:
        Invalid: with the reason LimitExceeded.

    """
    theirs = [
        one for one in statements_of(document) if is_of_a_server(one) and sid_of(one)[:-1] in share.sids
    ]
    size = len(compact({"Statement": theirs}).encode())
    limit = LARGEST_DOCUMENT * share.percent // 100
    if size <= limit:
        return
    servers = len({sid_of(one)[:-1] for one in theirs}) - 1
    raise Invalid(
        Reason.LIMIT_EXCEEDED,
        f"Namespace {namespace!r} has {servers} servers in the policy of bucket {where}, and with this one they would take "
        f"{size:,} bytes of it; the class allows a namespace {limit:,} ({share.percent} %). This one gets no access: delete a "
        "server of this namespace, or ask the platform team for more (limits.maxBucketPolicyPercentPerNamespace), or for "
        "isolation abac, which needs nothing per server.",
    )


# Comparing


def meaning_of(value: Json) -> Json:
    """A form of a policy, or of a part of one, that is equal for all ways to write the same."""
    if isinstance(value, Mapping):
        return {key: _meaning_of_member(key, member) for key, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [meaning_of(one) for one in value]
    return value


def same_meaning(one: Document, other: Document) -> bool:
    """Whether two documents say the same."""
    return _comparable(one) == _comparable(other)


def _comparable(document: Document) -> list[str]:
    return sorted(json.dumps(meaning_of(statement), sort_keys=True) for statement in statements_of(document))


def _meaning_of_member(key: str, value: Json) -> Json:
    if key in ("Principal", "NotPrincipal"):
        everybody = value in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        return "*" if everybody else {who: _as_set(names) for who, names in cast("Statement", value).items()}
    if key in ("Action", "NotAction", "Resource", "NotResource"):
        return _as_set(value)
    if key == "Condition" and isinstance(value, Mapping):
        return {
            operator: {name.lower(): _as_set(values) for name, values in cast("Statement", keys).items()}
            for operator, keys in value.items()
        }
    return meaning_of(value)


def _as_set(value: Json) -> list[str]:
    several = isinstance(value, Sequence) and not isinstance(value, str)
    values = cast("Sequence[Json]", value) if several else [value]
    return sorted({_as_text(one) for one in values})


def _as_text(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
