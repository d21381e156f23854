"""IAM users of servers: made with tags that say whose they are, with an inline policy and at most two access keys."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid, Unavailable
from tracking_operator.stores.ownership_mark import MANAGED_BY
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.clients import iam_client
from tracking_operator.stores.s3.errors import DENIED, asking, code_of, says
from tracking_operator.stores.s3.tenant import (
    Admin,
    Desired,
    IamUser,
    Tenant,
    cluster_part,
)

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

POLICY_NAME: Final = "tracking-operator-artifacts"
TAG_OF_OWNER: Final = f"{MANAGED_BY}/owner"
"""Holds the beginning of the tenant's statements' names; IAM allows no JSON in tags."""
GONE: Final = frozenset({"NoSuchEntity"})
ACTIVE: Final = "Active"


@dataclass(frozen=True)
class ObservedUser:
    """A user that is there and ours. ``access_keys`` are the identifiers of those that work, and ``idle_keys`` of others."""

    name: str
    arn: str
    tags: Mapping[str, str]
    boundary: str | None
    access_keys: tuple[str, ...]
    idle_keys: tuple[str, ...]
    policy: policy.Document | None


@dataclass(frozen=True)
class Users:
    """The IAM users of one identity, as their admin sees and makes them."""

    admin: Admin
    identity: IamUser

    @property
    def where(self) -> str:
        """How a sentence calls this IAM."""
        return f"IAM at {self.identity.endpoint}" if self.identity.endpoint else "AWS IAM"

    def observe(self, tenant: Tenant) -> ObservedUser | None:
        """The tenant's user; None if there is none. Three requests.

        Raises:
            Invalid: there is one of that name that is not the tenant's; with the reason Conflict.
            Failure: IAM does not answer, or refuses.

        """
        from botocore.exceptions import ClientError  # noqa: PLC0415

        name = tenant.user_name
        with asking(self.admin, f"describe user {name}", "iam:GetUser", self.where):
            try:
                user = self._client.get_user(UserName=name)["User"]
            except ClientError as error:
                if says(error, GONE):
                    return None
                raise
        tags = {tag["Key"]: tag["Value"] for tag in user.get("Tags", [])}
        if tags.get(TAG_OF_OWNER) != tenant.sid:
            raise self._conflict(name)
        working, idle = self._access_keys(name)
        return ObservedUser(
            name=name,
            arn=user["Arn"],
            tags=tags,
            boundary=user.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            access_keys=working,
            idle_keys=idle,
            policy=self._inline_policy(name),
        )

    def ensure(self, desired: Desired, partition: str) -> tuple[ObservedUser, bool]:
        """Make the tenant's user as desired, but for its keys; and whether it is new. Raises Failure."""
        tenant = desired.tenant
        observed = self.observe(tenant)
        is_new = observed is None
        if observed is None:
            self._create(tenant)
            observed = self.observe(tenant)
        if observed is None:
            raise Unavailable(
                Reason.IDENTITY_PENDING,
                f"{self.where} has created user {tenant.user_name} and does not know it yet. The operator goes on trying.",
            )
        self._correct(observed, desired, partition)
        return observed, is_new

    def create_key(self, name: str) -> Keys:
        """Make another access key; IAM allows two. Raises Failure."""
        with asking(self.admin, f"make an access key for user {name}", "iam:CreateAccessKey", self.where):
            made = self._client.create_access_key(UserName=name)["AccessKey"]
        return Keys(made["AccessKeyId"], made["SecretAccessKey"], source=f"IAM user {name}")

    def delete_keys(self, name: str, access_keys: tuple[str, ...]) -> None:
        """Remove access keys; nothing happens with those that are gone. Raises Failure."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        for access_key in access_keys:
            with asking(
                self.admin, f"remove an access key of user {name}", "iam:DeleteAccessKey", self.where
            ):
                try:
                    self._client.delete_access_key(UserName=name, AccessKeyId=access_key)
                except ClientError as error:
                    if not says(error, GONE):
                        raise

    def delete(self, observed: ObservedUser) -> None:
        """Remove a user with its keys and our inline policy. Raises Failure."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        name = observed.name
        self.delete_keys(name, (*observed.access_keys, *observed.idle_keys))
        with asking(self.admin, f"delete user {name}", "iam:DeleteUserPolicy and iam:DeleteUser", self.where):
            try:
                if observed.policy is not None:
                    self._client.delete_user_policy(UserName=name, PolicyName=POLICY_NAME)
                self._client.delete_user(UserName=name)
            except ClientError as error:
                if code_of(error) == "DeleteConflict":
                    raise self._in_use(name) from error
                if not says(error, GONE):
                    raise

    def is_known(self, arn: str) -> bool:
        """Whether a principal of a policy still exists; True where that cannot be told. Raises Failure."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        if ":user" not in arn:
            return True
        with asking(self.admin, f"say whether {arn} exists", "iam:GetUser", self.where):
            try:
                self._client.get_user(UserName=arn.rpartition("/")[2])
            except ClientError as error:
                if says(error, GONE):
                    return False
                if not says(error, DENIED):
                    raise
        return True

    def of_cluster(self, cluster: str) -> dict[str, str]:
        """The users under the identity's path whose names end like those of a cluster, with those ends. Raises Failure."""
        with asking(self.admin, f"list users under {self.identity.path}", "iam:ListUsers", self.where):
            pages = self._client.get_paginator("list_users").paginate(PathPrefix=self.identity.path)
            names = [user["UserName"] for page in pages for user in page["Users"]]
        ends = {name: name.rpartition("-")[2] for name in names if name.startswith("mlflow-")}
        return {name: end for name, end in ends.items() if end.startswith(cluster_part(cluster))}

    def observe_by_name(self, name: str, sid_start: str) -> ObservedUser | None:
        """A user whose server is not known any more; None if it is not ours by its tags. Raises Failure."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with asking(self.admin, f"describe user {name}", "iam:GetUser", self.where):
            try:
                user = self._client.get_user(UserName=name)["User"]
            except ClientError as error:
                if says(error, GONE):
                    return None
                raise
        tags = {tag["Key"]: tag["Value"] for tag in user.get("Tags", [])}
        if not tags.get(TAG_OF_OWNER, "").startswith(sid_start):
            return None
        working, idle = self._access_keys(name)
        return ObservedUser(name, user["Arn"], tags, None, working, idle, self._inline_policy(name))

    @property
    def _client(self) -> "IAMClient":
        return iam_client(self.admin, self.identity)

    def _create(self, tenant: Tenant) -> None:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        name, boundary = tenant.user_name, self.identity.permissions_boundary
        tags = [{"Key": key, "Value": value} for key, value in tags_of(tenant).items()]
        with asking(self.admin, f"create user {name}", "iam:CreateUser and iam:TagUser", self.where):
            try:
                self._client.create_user(
                    UserName=name,
                    Path=self.identity.path,
                    Tags=tags,  # type: ignore[arg-type]
                    **({"PermissionsBoundary": boundary} if boundary else {}),
                )
            except ClientError as error:
                # Another request of ours may have been first; whose it is, is read next.
                if code_of(error) != "EntityAlreadyExists":
                    raise

    def _correct(self, observed: ObservedUser, desired: Desired, partition: str) -> None:
        tenant, name, boundary = desired.tenant, observed.name, self.identity.permissions_boundary
        missing = {key: value for key, value in tags_of(tenant).items() if observed.tags.get(key) != value}
        if missing:
            tags = [{"Key": key, "Value": value} for key, value in missing.items()]
            with asking(self.admin, f"tag user {name}", "iam:TagUser", self.where):
                self._client.tag_user(UserName=name, Tags=tags)  # type: ignore[arg-type]
        if boundary and observed.boundary != boundary:
            with asking(self.admin, f"bound user {name}", "iam:PutUserPermissionsBoundary", self.where):
                self._client.put_user_permissions_boundary(UserName=name, PermissionsBoundary=boundary)
        wanted = policy.identity_policy(tenant, partition=partition, deletes=desired.deletes)
        if observed.policy is None or not policy.same_meaning(observed.policy, wanted):
            with asking(self.admin, f"write the policy of user {name}", "iam:PutUserPolicy", self.where):
                self._client.put_user_policy(
                    UserName=name, PolicyName=POLICY_NAME, PolicyDocument=policy.compact(wanted)
                )

    def _access_keys(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        with asking(self.admin, f"list the access keys of user {name}", "iam:ListAccessKeys", self.where):
            found = self._client.list_access_keys(UserName=name)["AccessKeyMetadata"]
        working = tuple(one["AccessKeyId"] for one in found if one["Status"] == ACTIVE)
        return working, tuple(one["AccessKeyId"] for one in found if one["Status"] != ACTIVE)

    def _inline_policy(self, name: str) -> policy.Document | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with asking(self.admin, f"give the policy of user {name}", "iam:GetUserPolicy", self.where):
            try:
                found: object = self._client.get_user_policy(UserName=name, PolicyName=POLICY_NAME)[
                    "PolicyDocument"
                ]
            except ClientError as error:
                if says(error, GONE):
                    return None
                raise
        # The types say that it is a document or its text; the SDK reads the text.
        return policy.parsed(found if isinstance(found, str) else json.dumps(found))

    def _conflict(self, name: str) -> Invalid:
        return Invalid(
            Reason.CONFLICT,
            f"{self.where} has a user {name} that was not made for this server: its tag {TAG_OF_OWNER} is missing or "
            "another one. It is left alone: remove it, or name another path or account in the class's s3.identity.",
        )

    def _in_use(self, name: str) -> Unavailable:
        return Unavailable(
            Reason.DELETION_BLOCKED,
            f"{self.where} does not delete user {name}, because somebody has given it more: detach the policies, groups "
            "or devices that the operator did not attach. The operator goes on trying.",
        )


def tags_of(tenant: Tenant) -> dict[str, str]:
    """The tags of a tenant's user: whose it is, and what isolation by tags compares."""
    return {
        TAG_OF_OWNER: tenant.sid,
        policy.TAG_OF_NAMESPACE: tenant.mark.namespace,
        policy.TAG_OF_SERVICE_ACCOUNT: tenant.mark.name,
    }
