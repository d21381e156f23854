"""What becomes of a tenant's access when its server is deleted: statements and identity away, and the mark at the end."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Waiting
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_policy import Change, change_policy, read_policy
from tracking_operator.stores.s3.iam_users import Users
from tracking_operator.stores.s3.objects import abort_uploads, has_objects, remove_objects
from tracking_operator.stores.s3.ownership import owns, release
from tracking_operator.stores.s3.policy import Statement
from tracking_operator.stores.s3.policy_change import users_of_versitygw
from tracking_operator.stores.s3.tenant import (
    SERVER_DIGITS_IN_USER_NAMES,
    Admin,
    Desired,
    IamUser,
    Identity,
    VersitygwUser,
    cluster_part,
    sids_of_cluster,
)
from tracking_operator.stores.s3.versitygw_users import UserAdmin

SECONDS_UNTIL_EMPTY: Final = 5.0


def retain(admin: Admin, desired: Desired) -> None:
    """Take a tenant's statements and identity away; its objects and its mark stay.

    Raises:
        Failure: the object store does not answer or refuses. Calling again goes on from what is left.

    """
    tenant = desired.tenant
    change = Change((), lambda statement: policy.is_of(statement, tenant), namespace=tenant.mark.namespace)
    _take_statements(admin, desired.identity, change)
    _take_identity(admin, desired)


def drop(admin: Admin, desired: Desired) -> None:
    """Take everything of a tenant's away, once its objects are gone. A prefix of somebody else's is left alone.

    Raises:
        Waiting: there are objects, versions or delete markers left under the prefix; nothing was taken away.
        Failure: the object store does not answer or refuses. Calling again goes on from what is left.

    """
    is_claimed = _if_there_is_a_bucket(lambda: owns(admin, desired.tenant))
    if is_claimed:
        _require_empty(admin, desired)
    retain(admin, desired)
    if is_claimed:
        abort_uploads(admin, desired.tenant)
        _require_empty(admin, desired)
        release(admin, desired.tenant)


def purge(admin: Admin, desired: Desired, *, seconds: float) -> bool:
    """Remove a tenant's objects, for so many seconds, once its access has ended: where no Job of its own can do that.

    Returns whether something was there to remove.

    Raises:
        Failure: the object store does not answer or refuses. Calling again goes on from what is left.

    """
    if not _if_there_is_a_bucket(lambda: owns(admin, desired.tenant)):
        return False
    return remove_objects(admin, desired.tenant, seconds=seconds)


def servers_with_rights(admin: Admin, identity: Identity, cluster: str) -> frozenset[str]:
    """The servers of a cluster that statements or users let in, each by the ``server_key`` of its mark.

    Whoever asks afterwards which of them live takes nothing from a server that has appeared meanwhile.

    Raises:
        Failure: the object store does not answer or refuses.

    """
    found = (policy.server_in(one, cluster) for one in policy.statements_of(read_policy(admin)))
    named = {server[:SERVER_DIGITS_IN_USER_NAMES] for server in found if server}
    return frozenset(named | set(_users_of_cluster(admin, identity, cluster).values()))


def take_rights(admin: Admin, identity: Identity, cluster: str, servers: frozenset[str]) -> tuple[str, ...]:
    """Take the statements and users of a cluster's servers away, named by ``server_key``; returns what they were called.

    Raises:
        Failure: the object store does not answer or refuses. Calling again goes on from what is left.

    """

    def is_theirs(statement: Statement) -> bool:
        server = policy.server_in(statement, cluster)
        return server is not None and server[:SERVER_DIGITS_IN_USER_NAMES] in servers

    statements = tuple(
        policy.sid_of(one) for one in policy.statements_of(read_policy(admin)) if is_theirs(one)
    )
    if statements:
        _take_statements(admin, identity, Change((), is_theirs))
    users = _users_of_cluster(admin, identity, cluster)
    taken = tuple(name for name, server in users.items() if server in servers)
    return (*statements, *(name for name in taken if _take_user(admin, identity, cluster, name)))


def _take_statements(admin: Admin, identity: Identity, change: Change) -> None:
    is_known: Callable[[str], bool] | None = None
    if isinstance(identity, VersitygwUser):
        is_known = users_of_versitygw(admin, identity)
    elif isinstance(identity, IamUser):
        is_known = Users(admin, identity).is_known
    _if_there_is_a_bucket(lambda: bool(change_policy(admin, replace(change, is_known=is_known))))


def _take_identity(admin: Admin, desired: Desired) -> None:
    match desired.identity:
        case VersitygwUser() as identity:
            gateway = UserAdmin(admin, identity)
            users = gateway.users()
            for name in desired.tenant.user_names:
                if name in users:
                    gateway.delete(name)
        case IamUser() as identity:
            _take_iam_user(Users(admin, identity), desired)


def _take_iam_user(users: Users, desired: Desired) -> None:
    # One that is not the tenant's, by its tags, is nobody's business here.
    observed = users.observe_by_name(desired.tenant.user_name, desired.tenant.sid)
    if observed:
        users.delete(observed)


def _users_of_cluster(admin: Admin, identity: Identity, cluster: str) -> dict[str, str]:
    """The users that were made for a cluster's servers, by name, each with the ``server_key`` of its server."""
    match identity:
        case VersitygwUser():
            ending = f"{cluster_part(cluster)}([0-9a-f]{{{SERVER_DIGITS_IN_USER_NAMES}}})-[ab]"
            pattern = re.compile(f"mlflow-.*-{ending}")
            found = {name: pattern.fullmatch(name) for name in UserAdmin(admin, identity).users()}
            return {name: match[1] for name, match in found.items() if match}
        case IamUser():
            start = cluster_part(cluster)
            ends = Users(admin, identity).of_cluster(cluster)
            return {name: end.removeprefix(start) for name, end in ends.items()}
    return {}


def _take_user(admin: Admin, identity: Identity, cluster: str, name: str) -> bool:
    """Remove a user; whether it was ours to remove."""
    match identity:
        case VersitygwUser():
            UserAdmin(admin, identity).delete(name)
            return True
        case IamUser():
            users = Users(admin, identity)
            observed = users.observe_by_name(name, sids_of_cluster(cluster))
            if observed:
                users.delete(observed)
            return observed is not None
    return False


def _require_empty(admin: Admin, desired: Desired) -> None:
    if has_objects(admin, desired.tenant):
        raise Waiting(
            Reason.DELETION_BLOCKED,
            f"There are objects or versions left under {desired.tenant.folder} in {admin.bucket.title}. They are removed "
            "first; the operator looks again.",
            retry_after=SECONDS_UNTIL_EMPTY,
        )


def _if_there_is_a_bucket(work: Callable[[], bool]) -> bool:
    """What ``work`` says; False if the bucket is gone, and with it all that was in it."""
    try:
        return work()
    except Failure as failure:
        if failure.reason is Reason.BUCKET_NOT_FOUND:
            return False
        raise
