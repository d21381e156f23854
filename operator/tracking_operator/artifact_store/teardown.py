"""What becomes of a tenant's access when its server is deleted: statements and identity away, and the mark at the end."""

import re
from collections.abc import Callable
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.artifact_store import policy
from tracking_operator.artifact_store.access import users_of_versitygw
from tracking_operator.artifact_store.bucket_policy import Change, change_policy, read_policy
from tracking_operator.artifact_store.desired import (
    SERVER_DIGITS_IN_USER_NAMES,
    Admin,
    Desired,
    IamUser,
    Identity,
    VersitygwUser,
    cluster_part,
    sids_of_cluster,
)
from tracking_operator.artifact_store.iam_users import Users
from tracking_operator.artifact_store.objects import abort_uploads, has_objects
from tracking_operator.artifact_store.ownership import owns, release
from tracking_operator.artifact_store.policy import Statement
from tracking_operator.artifact_store.versitygw_users import UserAdmin
from tracking_operator.failures import Invalid, Waiting

SECONDS_UNTIL_EMPTY: Final = 5.0


def retain(admin: Admin, desired: Desired) -> None:
    """Take a tenant's statements and identity away; its objects and its mark stay.

    Raises:
        Failure: the object store does not answer or refuses. Calling again goes on from what is left.

    """
    _take_statements(admin, desired.identity, lambda statement: policy.is_of(statement, desired.tenant))
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


def take_rights_of_the_dead(
    admin: Admin, identity: Identity, cluster: str, alive: frozenset[str]
) -> tuple[str, ...]:
    """Take away statements and users of a cluster's servers that are gone; returns the names of what was taken.

    ``alive`` has the ``server_part`` of every server of the cluster, whatever its class. A server that appears while
    this runs may lose what it has just got, and gets it again by its next ``provision``.

    Raises:
        Failure: the object store does not answer or refuses. Calling again goes on from what is left.

    """

    def is_dead(statement: Statement) -> bool:
        server = policy.server_in(statement, cluster)
        return server is not None and server not in alive

    dead = tuple(policy.sid_of(one) for one in policy.statements_of(read_policy(admin)) if is_dead(one))
    if dead:
        _take_statements(admin, identity, is_dead)
    ends = {server[:SERVER_DIGITS_IN_USER_NAMES] for server in alive}
    return (*dead, *_take_users(admin, identity, cluster, ends))


def _take_statements(admin: Admin, identity: Identity, is_ours: Callable[[Statement], bool]) -> None:
    is_known: Callable[[str], bool] | None = None
    if isinstance(identity, VersitygwUser):
        is_known = users_of_versitygw(admin, identity)
    elif isinstance(identity, IamUser):
        is_known = Users(admin, identity).is_known
    _if_there_is_a_bucket(lambda: bool(change_policy(admin, Change((), is_ours, is_known))))


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


def _take_users(admin: Admin, identity: Identity, cluster: str, alive: set[str]) -> tuple[str, ...]:
    match identity:
        case VersitygwUser():
            gateway = UserAdmin(admin, identity)
            pattern = re.compile(
                f"mlflow-.*-{cluster_part(cluster)}([0-9a-f]{{{SERVER_DIGITS_IN_USER_NAMES}}})-[ab]"
            )
            found = [(name, pattern.fullmatch(name)) for name in gateway.users()]
            dead = tuple(name for name, match in found if match and match[1] not in alive)
            for name in dead:
                gateway.delete(name)
            return dead
        case IamUser():
            return _take_iam_users(Users(admin, identity), cluster, alive)
    return ()


def _take_iam_users(users: Users, cluster: str, alive: set[str]) -> tuple[str, ...]:
    start = cluster_part(cluster)
    gone = [name for name, end in users.of_cluster(cluster).items() if end.removeprefix(start) not in alive]
    taken = []
    for name in gone:
        if observed := users.observe_by_name(name, sids_of_cluster(cluster)):
            users.delete(observed)
            taken.append(name)
    return tuple(taken)


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
    except Invalid as failure:
        if failure.reason is Reason.BUCKET_NOT_FOUND:
            return False
        raise
