"""Brings one tenant's prefix, identity and policy about: claim, identity, policy, and what is read back of each.

Everything may be killed between two requests and called again. What is settled costs reads only: the mark, the
identity, the bucket's policy.
"""

from dataclasses import dataclass

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.bucket_policy import change_policy, read_policy, require_room_for
from tracking_operator.stores.s3.iam_users import Users
from tracking_operator.stores.s3.ownership import bucket_lost, claim
from tracking_operator.stores.s3.policy import Document
from tracking_operator.stores.s3.policy_change import (
    change_for,
    names_before,
    partition_of,
    require_possible,
    users_of_versitygw,
)
from tracking_operator.stores.s3.tenant import (
    Admin,
    Desired,
    IamUser,
    VersitygwUser,
)
from tracking_operator.stores.s3.versitygw_users import ROLE, User, UserAdmin


@dataclass(frozen=True)
class Provisioned:
    """A tenant's access as it is now.

    ``keys`` is the pair to use: the one that was given, or a new one if none was given or that one does not work;
    None for identities without keys of the operator's making. ``has_other_keys`` means that another pair of the
    server works as well: a rotation has begun and not ended. ``remarks`` are for the platform team.
    """

    keys: Keys | None
    has_other_keys: bool
    remarks: tuple[str, ...] = ()


def provision(admin: Admin, desired: Desired, keys: Keys | None) -> Provisioned:
    """Make a tenant's prefix and identity as desired; ``keys`` is what the server's Secret holds.

    Without keys, or with keys that do not work, older keys of the identity are removed: nobody has them.

    Raises:
        Failure: of any kind. Calling again goes on from what is there.

    """
    require_possible(desired)
    seen = _policy_with_room(admin, desired, keys)
    claim(admin, desired.tenant, must_exist=desired.must_exist, encryption=desired.require_encryption)
    match desired.identity:
        case VersitygwUser() as identity:
            return _provision_versitygw_user(admin, desired, identity, keys, seen)
        case IamUser() as identity:
            return _provision_iam_user(admin, desired, identity, keys, seen)
        case _:
            names = names_before(desired, keys)
            return Provisioned(None, has_other_keys=False, remarks=_grant(admin, desired, names, seen))


def issue_keys(admin: Admin, desired: Desired, in_use: Keys) -> Keys:
    """Make a second pair of keys that works beside the one in use; a pair that was made before goes.

    Raises:
        Failure: of any kind. Calling again makes another pair in the place of the one that got lost.
        ValueError: the identity has no keys of the operator's making.

    """
    match desired.identity:
        case VersitygwUser() as identity:
            return _issue_versitygw_user(admin, desired, identity, in_use)
        case IamUser() as identity:
            users = Users(admin, identity)
            observed, _ = users.ensure(desired, partition_of(admin))
            every = (*observed.access_keys, *observed.idle_keys)
            users.delete_keys(observed.name, tuple(key for key in every if key != in_use.access_key_id))
            return users.create_key(observed.name)
    raise ValueError(f"{desired.identity} has no keys that could rotate")


def retire_keys(admin: Admin, desired: Desired, in_use: Keys) -> None:
    """Remove every pair of keys but the one in use, and its principal from the policy.

    Nothing is removed when the pair in use does not work: that is for ``provision`` to see to.

    Raises:
        Failure: of any kind. Calling again goes on from what is there.

    """
    match desired.identity:
        case VersitygwUser() as identity:
            gateway = UserAdmin(admin, identity)
            users = _own_users(gateway, desired)
            if not _work(users, in_use):
                return
            _grant(admin, desired, (in_use.access_key_id,))
            _delete_others(gateway, users, in_use.access_key_id)
        case IamUser() as identity:
            iam = Users(admin, identity)
            observed = iam.observe(desired.tenant)
            if observed and in_use.access_key_id in observed.access_keys:
                every = (*observed.access_keys, *observed.idle_keys)
                iam.delete_keys(observed.name, tuple(key for key in every if key != in_use.access_key_id))


def revoke_keys(admin: Admin, desired: Desired) -> None:
    """Make every pair of keys void that the operator has made for the server; ``provision`` without keys makes another.

    The identity and its policy stay, so that nobody takes the policy's room meanwhile. Identities without keys of
    the operator's making have nothing to revoke.

    Raises:
        Failure: of any kind. Calling again goes on from what is there.

    """
    match desired.identity:
        case VersitygwUser() as identity:
            gateway = UserAdmin(admin, identity)
            for name in _own_users(gateway, desired):
                gateway.renew(name)
        case IamUser() as identity:
            iam = Users(admin, identity)
            if observed := iam.observe(desired.tenant):
                iam.delete_keys(observed.name, (*observed.access_keys, *observed.idle_keys))


def _policy_with_room(admin: Admin, desired: Desired, keys: Keys | None) -> Document:
    """The bucket's policy, in which there is room for the server: looked at before anything is written for it."""
    try:
        seen = read_policy(admin)
    except Failure as failure:
        if failure.reason is Reason.BUCKET_NOT_FOUND and desired.must_exist:
            raise bucket_lost(admin) from failure
        raise
    if change := change_for(admin, desired, names_before(desired, keys)):
        require_room_for(admin, seen, change)
    return seen


def _grant(
    admin: Admin, desired: Desired, names: tuple[str, ...], seen: Document | None = None
) -> tuple[str, ...]:
    """Let an identity of these names into the prefix; remarks on the policy, which was ``seen`` a moment ago."""
    identity = desired.identity
    is_known = None
    if isinstance(identity, VersitygwUser):
        is_known = users_of_versitygw(admin, identity)
    elif isinstance(identity, IamUser):
        is_known = Users(admin, identity).is_known
    change = change_for(admin, desired, names, is_known)
    return change_policy(admin, change, seen) if change else ()


# IAM


def _provision_iam_user(
    admin: Admin, desired: Desired, identity: IamUser, keys: Keys | None, seen: Document
) -> Provisioned:
    users = Users(admin, identity)
    observed, _ = users.ensure(desired, partition_of(admin))
    remarks = _grant(admin, desired, (observed.arn,), seen)
    if keys and keys.access_key_id in observed.access_keys:
        return Provisioned(keys, has_other_keys=len(observed.access_keys) > 1, remarks=remarks)
    users.delete_keys(observed.name, (*observed.access_keys, *observed.idle_keys))
    return Provisioned(users.create_key(observed.name), has_other_keys=False, remarks=remarks)


# versitygw


def _provision_versitygw_user(
    admin: Admin, desired: Desired, identity: VersitygwUser, keys: Keys | None, seen: Document
) -> Provisioned:
    gateway = UserAdmin(admin, identity)
    users = _own_users(gateway, desired)
    if keys and _work(users, keys):
        remarks = _grant(admin, desired, tuple(sorted(users)), seen)
        return Provisioned(keys, has_other_keys=len(users) > 1, remarks=remarks)
    first, _ = desired.tenant.user_names
    held = keys.access_key_id if keys else first
    name = held if held in users else next(iter(sorted(users)), first)
    made = gateway.renew(name) if name in users else gateway.create(name)
    remarks = _grant(admin, desired, (name,), seen)
    _delete_others(gateway, users, name)
    return Provisioned(made, has_other_keys=False, remarks=remarks)


def _issue_versitygw_user(admin: Admin, desired: Desired, identity: VersitygwUser, in_use: Keys) -> Keys:
    gateway = UserAdmin(admin, identity)
    users = _own_users(gateway, desired)
    first, second = desired.tenant.user_names
    name = second if in_use.access_key_id == first else first
    made = gateway.renew(name) if name in users else gateway.create(name)
    try:
        _grant(admin, desired, tuple(sorted({*users, name})))
    except Invalid:
        # The policy has no room for two names: the server keeps the one that it has.
        if name not in users:
            gateway.delete(name)
        raise
    return made


def _own_users(gateway: UserAdmin, desired: Desired) -> dict[str, User]:
    """The tenant's users that exist, each with no more rights than policies give it."""
    everybody = gateway.users()
    users = {name: everybody[name] for name in desired.tenant.user_names if name in everybody}
    for user in users.values():
        if user.role != ROLE:
            gateway.restrict(user.name)
    return users


def _work(users: dict[str, User], keys: Keys) -> bool:
    user = users.get(keys.access_key_id)
    return user is not None and user.works_with(keys)


def _delete_others(gateway: UserAdmin, users: dict[str, User], name: str) -> None:
    for other in users:
        if other != name:
            gateway.delete(other)
