"""IAM users of servers, at moto: made once with tags and an inline policy, rotated, taken away; killed anywhere."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

from tests.stores.s3.world import SESSION, Crashed, Wire, World, client, desired, new_name, tapped, tenant
from tracking_operator.api.conditions import Reason
from tracking_operator.api.s3_connection import AddressingStyle
from tracking_operator.api.tracking_server_class import Isolation
from tracking_operator.failures import Invalid, Unavailable, Waiting
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_address import Bucket, Keys
from tracking_operator.stores.s3.bucket_policy import read_policy
from tracking_operator.stores.s3.finalize import drop, retain, servers_with_rights, take_rights
from tracking_operator.stores.s3.iam_users import POLICY_NAME, TAG_OF_OWNER
from tracking_operator.stores.s3.preflight import preflight
from tracking_operator.stores.s3.provision import issue_keys, provision, retire_keys, revoke_keys
from tracking_operator.stores.s3.tenant import Admin, Desired, IamUser, PodRole, Role, server_key

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

PATH = "/mlflow/"


@dataclass
class Account:
    """An account of AWS with a bucket."""

    url: str
    name: str

    @property
    def admin(self) -> Admin:
        bucket = Bucket(self.name, endpoint=self.url, addressing_style=AddressingStyle.PATH)
        return Admin(bucket, Keys("AKIAADMIN", "the admin's secret"))

    @property
    def identity(self) -> IamUser:
        return IamUser(PATH, endpoint=self.url)

    @property
    def iam(self) -> "IAMClient":
        return iam_client(self.url)

    def desired(self, namespace: str = "team-a") -> Desired:
        return desired(tenant(self.name, namespace), self.identity)

    def users(self) -> list[str]:
        return [user["UserName"] for user in self.iam.list_users(PathPrefix=PATH)["Users"]]

    def access_keys(self, name: str) -> list[str]:
        return [one["AccessKeyId"] for one in self.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]]

    def sids(self) -> list[str]:
        return [policy.sid_of(one) for one in policy.statements_of(read_policy(self.admin))]

    def state(self) -> dict[str, object]:
        """Everything but the access keys' random names."""
        users = {}
        for name in self.users():
            user = self.iam.get_user(UserName=name)["User"]
            tags = {tag["Key"]: tag["Value"] for tag in user.get("Tags", [])}
            policies = self.iam.list_user_policies(UserName=name)["PolicyNames"]
            users[name] = (tags, policies, len(self.access_keys(name)))
        return {"users": users, "policy": sorted(map(repr, policy.statements_of(read_policy(self.admin))))}


@lru_cache
def iam_client(url: str) -> "IAMClient":
    """IAM as somebody other than the operator sees it."""
    return SESSION.client(
        "iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


@pytest.fixture
def account(aws: str) -> Iterator[Account]:
    account = Account(aws, new_name())
    client(aws, Keys("x", "x")).create_bucket(Bucket=account.name)
    yield account
    for name in account.users():
        for key in account.access_keys(name):
            account.iam.delete_access_key(UserName=name, AccessKeyId=key)
        for one in account.iam.list_user_policies(UserName=name)["PolicyNames"]:
            account.iam.delete_user_policy(UserName=name, PolicyName=one)
        for attached in account.iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
            account.iam.detach_user_policy(UserName=name, PolicyArn=attached["PolicyArn"])
        account.iam.delete_user(UserName=name)


def test_a_user_has_the_tags_that_say_whose_it_is_and_a_policy_that_ends_at_the_prefix(
    account: Account,
) -> None:
    wanted = account.desired()
    made = provision(account.admin, wanted, None)
    name = wanted.tenant.user_name
    user = account.iam.get_user(UserName=name)["User"]
    assert user["Path"] == PATH
    assert {tag["Key"]: tag["Value"] for tag in user["Tags"]} == {
        TAG_OF_OWNER: wanted.tenant.sid,
        "kubernetes-namespace": "team-a",
        "kubernetes-service-account": "mlflow",
    }
    inline = account.iam.get_user_policy(UserName=name, PolicyName=POLICY_NAME)["PolicyDocument"]
    assert policy.same_meaning(json.loads(json.dumps(inline)), policy.identity_policy(wanted.tenant))
    assert made.keys
    assert account.access_keys(name) == [made.keys.access_key_id]
    listing, objects = policy.statements_of(read_policy(account.admin))
    assert policy.names_in(listing) == policy.names_in(objects) == (user["Arn"],)


def test_what_is_settled_costs_five_reads_and_no_write(account: Account) -> None:
    keys = provision(account.admin, account.desired(), None).keys
    with tapped(Wire()) as wire:
        again = provision(account.admin, account.desired(), keys)
    assert again.keys is keys
    assert len(wire.sent) == 5
    # IAM is asked by POST for everything; that nothing was written is seen in its state.
    assert not [one for one in wire.writes if not one.startswith("POST")]


def test_a_user_of_somebody_else_is_left_alone(account: Account) -> None:
    name = account.desired().tenant.user_name
    account.iam.create_user(UserName=name, Path=PATH)
    before = account.state()
    with pytest.raises(Invalid, match="was not made for this server") as caught:
        provision(account.admin, account.desired(), None)
    assert caught.value.reason is Reason.CONFLICT
    assert account.state() == before
    retain(account.admin, account.desired())
    assert account.state() == before


def test_drift_of_tags_and_policy_is_put_right(account: Account) -> None:
    name = account.desired().tenant.user_name
    keys = provision(account.admin, account.desired(), None).keys
    before = account.state()
    account.iam.untag_user(UserName=name, TagKeys=["kubernetes-namespace"])
    account.iam.delete_user_policy(UserName=name, PolicyName=POLICY_NAME)
    assert account.state() != before
    assert provision(account.admin, account.desired(), keys).keys is keys
    assert account.state() == before


def test_while_keys_rotate_there_are_two_and_then_one(account: Account) -> None:
    wanted, name = account.desired(), account.desired().tenant.user_name
    old = provision(account.admin, wanted, None).keys
    assert old
    lost = issue_keys(account.admin, wanted, old)
    new = issue_keys(account.admin, wanted, old)
    assert set(account.access_keys(name)) == {old.access_key_id, new.access_key_id}
    assert lost.access_key_id not in account.access_keys(name)
    assert provision(account.admin, wanted, new).has_other_keys
    retire_keys(account.admin, wanted, Keys("AKIAUNKNOWN", "x"))
    assert len(account.access_keys(name)) == 2
    retire_keys(account.admin, wanted, new)
    assert account.access_keys(name) == [new.access_key_id]
    assert not provision(account.admin, wanted, new).has_other_keys


def test_revoked_keys_are_gone_before_there_are_new_ones(account: Account) -> None:
    wanted, name = account.desired(), account.desired().tenant.user_name
    old = provision(account.admin, wanted, None).keys
    assert old
    issue_keys(account.admin, wanted, old)
    revoke_keys(account.admin, wanted)
    assert account.access_keys(name) == []
    new = provision(account.admin, wanted, None).keys
    assert new
    assert account.access_keys(name) == [new.access_key_id]


def test_keys_that_were_switched_off_are_replaced(account: Account) -> None:
    wanted, name = account.desired(), account.desired().tenant.user_name
    old = provision(account.admin, wanted, None).keys
    assert old
    account.iam.update_access_key(UserName=name, AccessKeyId=old.access_key_id, Status="Inactive")
    new = provision(account.admin, wanted, old).keys
    assert new
    assert account.access_keys(name) == [new.access_key_id] != [old.access_key_id]


def test_users_go_with_their_servers_but_not_what_others_attached(account: Account) -> None:
    wanted, name = account.desired(), account.desired().tenant.user_name
    provision(account.admin, wanted, None)
    arn = account.iam.create_policy(
        PolicyName=new_name(), PolicyDocument=json.dumps(policy.identity_policy(wanted.tenant))
    )["Policy"]["Arn"]
    account.iam.attach_user_policy(UserName=name, PolicyArn=arn)
    with pytest.raises(Unavailable, match="somebody has given it more") as caught:
        drop(account.admin, wanted)
    assert caught.value.reason is Reason.DELETION_BLOCKED
    account.iam.detach_user_policy(UserName=name, PolicyArn=arn)
    drop(account.admin, wanted)
    assert (account.users(), account.sids()) == ([], [])


def test_rights_of_servers_that_are_gone_are_taken(account: Account) -> None:
    for namespace in ("team-a", "team-b"):
        provision(account.admin, account.desired(namespace), None)
    account.iam.create_user(UserName=f"{account.desired('team-c').tenant.user_name}", Path=PATH)
    alive, dead = (account.desired(namespace).tenant for namespace in ("team-a", "team-b"))
    where = account.admin, account.identity, alive.mark.cluster
    dead_ones = servers_with_rights(*where) - {server_key(alive.mark)}
    taken = take_rights(*where, dead_ones)
    assert taken == (f"{dead.sid}L", f"{dead.sid}O", dead.user_name)
    # The third one carries no tags of ours, whatever it is called.
    assert account.users() == [alive.user_name, account.desired("team-c").tenant.user_name]


@pytest.mark.parametrize("act", ["provision", "issue", "retire", "drop"])
def test_killed_after_any_request_and_run_again_the_end_is_the_same(account: Account, act: str) -> None:
    wanted = account.desired()

    def run(keys: Keys | None) -> None:
        if act == "provision":
            provision(account.admin, wanted, keys)
        elif act == "drop":
            drop(account.admin, wanted)
        else:
            assert keys
            (issue_keys if act == "issue" else retire_keys)(account.admin, wanted, keys)

    ends, number, has_crashed = [], 0, True
    while has_crashed:
        keys = None if act == "provision" else provision(account.admin, wanted, None).keys
        if act == "retire":
            assert keys
            keys = issue_keys(account.admin, wanted, keys)
        has_crashed = False
        with tapped(Wire(crash_after=number)):
            try:
                run(keys)
            except Crashed:
                has_crashed = True
        if has_crashed:
            run(keys)
        ends.append(repr(account.state()))
        drop(account.admin, wanted)
        number += 1
    assert number > 3
    assert set(ends) == {ends[-1]}


def test_a_user_whom_s3_does_not_know_yet_is_waited_for(world: World, account: Account) -> None:
    # The user is AWS's, and the bucket versitygw's, which will never hear of it.
    wanted = desired(tenant(world.name), IamUser(PATH, endpoint=account.url))
    with pytest.raises(Waiting, match="so fresh that the object store does not know it yet") as caught:
        provision(world.admin, wanted, None)
    assert caught.value.reason is Reason.IDENTITY_PENDING
    assert caught.value.retry_after
    assert world.statements() == []


def test_preflight_asks_iam_too(account: Account) -> None:
    preflight(account.admin, create=None, identity=account.identity)
    nowhere = IamUser(PATH, endpoint="http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=re.escape(nowhere.endpoint or "")):
        preflight(account.admin, create=None, identity=nowhere)


# Roles and isolation by tags


def test_a_role_of_the_servers_own_is_named_in_the_policy(account: Account) -> None:
    role = Role("arn:aws:iam::123456789012:role/mlflow-team-a")
    found = provision(account.admin, desired(tenant(account.name), role), None)
    assert found.keys is None
    assert not found.has_other_keys
    assert {policy.names_in(one) for one in policy.statements_of(read_policy(account.admin))} == {(role.arn,)}


def test_isolation_by_tags_needs_nothing_per_server(account: Account) -> None:
    role = PodRole("arn:aws:iam::123456789012:role/mlflow", "prod")
    first = desired(tenant(account.name, "team-a"), role, isolation=Isolation.ABAC)
    provision(account.admin, first, None)
    sids = account.sids()
    assert len(sids) == 2
    for number in range(5):
        wanted = desired(tenant(account.name, f"team-{number}"), role, isolation=Isolation.ABAC)
        with tapped(Wire()) as wire:
            provision(account.admin, wanted, None)
        assert [one for one in wire.writes if "owner.json" not in one] == []
    assert account.sids() == sids
    retain(account.admin, first)
    assert account.sids() == sids


def test_a_server_that_is_being_emptied_gets_more_by_its_tags_for_as_long(account: Account) -> None:
    role = PodRole("arn:aws:iam::123456789012:role/mlflow")
    own = tenant(account.name)
    provision(account.admin, desired(own, role, isolation=Isolation.ABAC, deletes=True), None)
    assert account.sids()[2:] == [f"{own.sid}V", f"{own.sid}W"]
    drop(account.admin, desired(own, role, isolation=Isolation.ABAC))
    assert len(account.sids()) == 2


def test_tagged_users_share_one_statement_for_their_path(account: Account) -> None:
    wanted = replace(account.desired(), isolation=Isolation.ABAC)
    provision(account.admin, wanted, None)
    listing, _ = policy.statements_of(read_policy(account.admin))
    arn = account.iam.get_user(UserName=wanted.tenant.user_name)["User"]["Arn"]
    condition = listing["Condition"]
    assert isinstance(condition, dict)
    assert condition["ArnLike"] == {"aws:PrincipalArn": f"{arn.rpartition('/')[0]}/*"}


def test_from_a_policy_per_server_to_tags_the_pair_goes(account: Account) -> None:
    keys = provision(account.admin, account.desired(), None).keys
    assert len(account.sids()) == 2
    provision(account.admin, replace(account.desired(), isolation=Isolation.ABAC), keys)
    assert all(sid.startswith("trkAbac") for sid in account.sids())


@pytest.mark.parametrize(
    ("identity", "isolation", "prefix", "sentence"),
    [
        (PodRole(), Isolation.BUCKET_POLICY, "", "set s3.isolation of the class to abac"),
        (Role("arn:aws:iam::1:role/x"), Isolation.ABAC, "", "use podIdentity or iamUser"),
        (PodRole(), Isolation.ABAC, "artifacts/team-a", "its prefix is artifacts/team-a"),
    ],
)
def test_isolation_and_identity_that_do_not_fit_are_refused_before_anything_is_asked(
    account: Account, identity: Role | PodRole, isolation: Isolation, prefix: str, sentence: str
) -> None:
    wanted = desired(tenant(account.name, prefix=prefix), identity, isolation=isolation)
    with tapped(Wire()) as wire, pytest.raises(Invalid, match=sentence):
        provision(account.admin, wanted, None)
    assert wire.sent == []
