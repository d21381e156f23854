"""The life of a server's prefix on a real versitygw: made once, left alone, rotated, taken away; killed anywhere."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from botocore.exceptions import ClientError

from tests.stores.s3.world import Crashed, Wire, World, desired, tapped, tenant
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.finalize import drop, retain, servers_with_rights, take_rights
from tracking_operator.stores.s3.objects import count_objects, is_empty
from tracking_operator.stores.s3.provision import issue_keys, provision, retire_keys, revoke_keys
from tracking_operator.stores.s3.tenant import Tenant, VersitygwUser, server_key
from tracking_operator.stores.s3.versitygw_users import UserAdmin


def works(world: World, of: Tenant, keys: Keys | None) -> bool:
    s3 = world.s3_as(keys)
    try:
        s3.put_object(Bucket=world.name, Key=f"{of.folder}model", Body=b"1")
    except ClientError as error:
        assert error.response["Error"]["Code"] in {
            "AccessDenied",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
        }
        return False
    return True


# Settled


def test_what_is_settled_costs_three_reads_and_no_write(world: World) -> None:
    wanted = desired(tenant(world.name))
    keys = world.provision(wanted).keys
    with tapped(Wire()) as wire:
        again = world.provision(wanted, keys)
    assert again.keys == keys
    assert wire.writes == []
    assert len(wire.sent) == 3


def test_keys_that_work_are_given_back_and_others_are_replaced(world: World) -> None:
    own = tenant(world.name)
    first = world.provision(desired(own)).keys
    assert world.provision(desired(own), first).keys is first
    for broken in (None, Keys("somebody", "else"), Keys(own.user_names[0], "forgotten")):
        made = world.provision(desired(own), broken)
        assert made.keys not in (None, broken, first)
        assert not made.has_other_keys
        assert works(world, own, made.keys)
        assert not works(world, own, first)
    assert len(world.users()) == 1


def test_a_server_that_is_made_again_gets_its_artifacts_back(world: World) -> None:
    own = tenant(world.name)
    keys = world.provision(desired(own)).keys
    assert works(world, own, keys)
    retain(world.admin, desired(own))
    assert world.statements() == []
    assert world.users() == set()
    assert not works(world, own, keys)
    assert world.objects() == [own.mark_key, own.entry_key, f"{own.folder}model"]
    again = world.provision(desired(own, must_exist=True)).keys
    assert world.s3_as(again).get_object(Bucket=world.name, Key=f"{own.folder}model")["Body"].read() == b"1"


def test_a_user_who_was_given_more_is_restricted_again(world: World) -> None:
    own = tenant(world.name)
    keys = world.provision(desired(own)).keys
    assert keys
    users = UserAdmin(world.admin, VersitygwUser())
    users._request(
        f"update-user?access={keys.access_key_id}",
        "<MutableProps><Role>admin</Role></MutableProps>",
        doing="promote it",
    )
    world.put("of-nobody")
    world.s3_as(keys).get_object(Bucket=world.name, Key="of-nobody")
    assert world.provision(desired(own), keys).keys == keys
    with pytest.raises(ClientError, match="AccessDenied"):
        world.s3_as(keys).get_object(Bucket=world.name, Key="of-nobody")


# Keys


def test_while_keys_rotate_both_pairs_work_and_then_only_the_new_one(world: World) -> None:
    own = tenant(world.name)
    old = world.provision(desired(own)).keys
    assert old
    new = issue_keys(world.admin, desired(own), old)
    assert works(world, own, old)
    assert works(world, own, new)
    for held in (old, new):
        found = world.provision(desired(own), held)
        assert found.keys is held
        assert found.has_other_keys
    retire_keys(world.admin, desired(own), new)
    assert not works(world, own, old)
    assert works(world, own, new)
    assert not world.provision(desired(own), new).has_other_keys
    third = issue_keys(world.admin, desired(own), new)
    assert third.access_key_id == old.access_key_id
    assert works(world, own, third)
    assert works(world, own, new)


def test_a_pair_that_got_lost_is_replaced_by_the_next_rotation(world: World) -> None:
    own = tenant(world.name)
    old = world.provision(desired(own)).keys
    assert old
    lost = issue_keys(world.admin, desired(own), old)
    new = issue_keys(world.admin, desired(own), old)
    assert not works(world, own, lost)
    assert works(world, own, new)
    assert works(world, own, old)
    assert len(world.users()) == 2


def test_retiring_with_keys_that_do_not_work_takes_nothing_away(world: World) -> None:
    own = tenant(world.name)
    keys = world.provision(desired(own)).keys
    retire_keys(world.admin, desired(own), Keys(own.user_names[1], "unknown"))
    assert works(world, own, keys)


# The end


def test_a_prefix_is_dropped_only_when_it_is_empty(world: World) -> None:
    world.s3.put_bucket_versioning(Bucket=world.name, VersioningConfiguration={"Status": "Enabled"})
    own = tenant(world.name)
    keys = world.provision(desired(own)).keys
    version = world.s3_as(keys).put_object(Bucket=world.name, Key=f"{own.folder}model", Body=b"1")[
        "VersionId"
    ]
    world.s3_as(keys).create_multipart_upload(Bucket=world.name, Key=f"{own.folder}unfinished")
    neighbour = world.s3.create_multipart_upload(Bucket=world.name, Key=f"{own.prefix}-secret/unfinished")
    marker = world.s3.delete_object(Bucket=world.name, Key=f"{own.folder}model")["VersionId"]
    assert count_objects(world.admin, own) == 2
    with pytest.raises(Waiting) as caught:
        drop(world.admin, desired(own))
    assert caught.value.reason is Reason.DELETION_BLOCKED
    assert len(world.users()) == 1
    for one in (version, marker):
        world.s3.delete_object(Bucket=world.name, Key=f"{own.folder}model", VersionId=one)
    assert is_empty(world.admin, own)
    drop(world.admin, desired(own))
    assert (world.objects(), world.users(), world.statements()) == ([], set(), [])
    uploads = world.s3.list_multipart_uploads(Bucket=world.name)["Uploads"]
    assert [one["UploadId"] for one in uploads] == [neighbour["UploadId"]]
    drop(world.admin, desired(own))


def test_dropping_leaves_a_prefix_of_somebody_else_alone(world: World) -> None:
    holder, other = tenant(world.name), tenant(world.name, "team-b", prefix="team-a/mlflow")
    keys = world.provision(desired(holder)).keys
    assert works(world, holder, keys)
    before = world.state()
    assert count_objects(world.admin, other) == 0
    drop(world.admin, desired(other))
    assert world.state() == before
    assert works(world, holder, keys)


def test_without_its_bucket_a_server_still_loses_its_user(world: World) -> None:
    own = tenant(world.name)
    world.provision(desired(own))
    for key in world.objects():
        world.s3.delete_object(Bucket=world.name, Key=key)
    world.s3.delete_bucket(Bucket=world.name)
    drop(world.admin, desired(own))
    assert world.users() == set()


def test_rights_of_servers_that_are_gone_are_taken_and_those_of_others_stay(world: World) -> None:
    alive, dead, foreign = (
        tenant(world.name, "team-a"),
        tenant(world.name, "team-b"),
        tenant(world.name, "team-c", cluster="another"),
    )
    keys = {one: world.provision(desired(one)).keys for one in (alive, dead, foreign)}
    where = world.admin, VersitygwUser(), alive.mark.cluster
    both = frozenset({server_key(alive.mark), server_key(dead.mark)})
    assert servers_with_rights(*where) == both
    taken = take_rights(*where, frozenset({server_key(dead.mark)}))
    assert taken == (f"{dead.sid}L", f"{dead.sid}O", dead.user_names[0])
    assert works(world, alive, keys[alive])
    assert works(world, foreign, keys[foreign])
    assert not works(world, dead, keys[dead])
    assert dead.mark_key in world.objects()
    assert servers_with_rights(*where) == {server_key(alive.mark)}
    assert take_rights(*where, frozenset({server_key(dead.mark)})) == ()


# Killed between any two requests


@dataclass
class Story:
    """Something that the operator does, and what the control loop knows when it does it again."""

    prepare: Callable[[World], Keys | None]
    act: Callable[[World, Keys | None], object]


def _provisioned(world: World) -> Keys | None:
    return world.provision(desired(tenant(world.name))).keys


def _rotating(world: World) -> Keys | None:
    old = _provisioned(world)
    assert old
    return issue_keys(world.admin, desired(tenant(world.name)), old)


def _retire(world: World, keys: Keys | None) -> None:
    assert keys
    retire_keys(world.admin, desired(tenant(world.name)), keys)


def _issue(world: World, keys: Keys | None) -> None:
    assert keys
    assert works(world, tenant(world.name), issue_keys(world.admin, desired(tenant(world.name)), keys))
    world.s3.delete_object(Bucket=world.name, Key="team-a/mlflow/model")


def _provision_and_use(world: World, keys: Keys | None) -> None:
    found = provision(world.admin, desired(tenant(world.name)), keys)
    assert works(world, tenant(world.name), found.keys)
    world.s3.delete_object(Bucket=world.name, Key="team-a/mlflow/model")


STORIES = {
    "provision": Story(lambda _: None, _provision_and_use),
    "issue": Story(_provisioned, _issue),
    "retire": Story(_rotating, _retire),
    "retain": Story(_provisioned, lambda world, _: retain(world.admin, desired(tenant(world.name)))),
    "drop": Story(_provisioned, lambda world, _: drop(world.admin, desired(tenant(world.name)))),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_killed_after_any_request_and_run_again_the_end_is_the_same(world: World, story: Story) -> None:
    ends = []
    number = 0
    while True:
        keys = story.prepare(world)
        has_crashed = False
        with tapped(Wire(crash_after=number)):
            try:
                story.act(world, keys)
            except Crashed:
                has_crashed = True
        if has_crashed:
            story.act(world, keys)
        ends.append(repr(world.state()))
        drop(world.admin, desired(tenant(world.name)))
        if not has_crashed:
            break
        number += 1
    assert number > 3
    assert set(ends) == {ends[-1]}


# Whose a prefix is


def test_of_two_servers_that_ask_for_one_prefix_the_first_keeps_it(world: World) -> None:
    first, second = tenant(world.name), tenant(world.name, "team-b", prefix="team-a/mlflow")
    world.provision(desired(first))
    before = world.state()
    with pytest.raises(Invalid, match="belongs to another tracking server") as caught:
        world.provision(desired(second))
    assert caught.value.reason is Reason.PREFIX_TAKEN
    assert world.state() == before


@pytest.mark.parametrize(
    ("held", "asked", "relation"),
    [
        ("team-a", "team-a/mlflow", "lies within"),
        ("team-a", "team-a/deep/er", "lies within"),
        ("team-a/mlflow", "team-a", "contains"),
        ("a/b/c/d", "a", "contains"),
    ],
)
def test_a_prefix_neither_lies_in_another_servers_nor_contains_one(
    world: World, held: str, asked: str, relation: str
) -> None:
    world.provision(desired(tenant(world.name, "team-x", prefix=held)))
    before = world.state()
    with pytest.raises(Invalid, match=f"{relation} one that belongs to another tracking server") as caught:
        world.provision(desired(tenant(world.name, "team-y", prefix=asked)))
    assert caught.value.reason is Reason.PREFIX_TAKEN
    assert world.state() == before


@pytest.mark.parametrize(("one", "other"), [("team-a", "team-a-secret"), ("team-a/x", "team-a/x-y")])
def test_prefixes_that_only_begin_the_same_are_unrelated(world: World, one: str, other: str) -> None:
    for namespace, prefix in (("team-x", one), ("team-y", other)):
        world.provision(desired(tenant(world.name, namespace, prefix=prefix)))
    assert len(world.users()) == 2


def test_objects_that_nobody_has_claimed_are_not_taken_over(world: World) -> None:
    world.put("team-a/mlflow/0/old")
    with pytest.raises(Invalid, match="for example team-a/mlflow/0/old") as caught:
        world.provision(desired(tenant(world.name)))
    assert caught.value.reason is Reason.PREFIX_TAKEN
    assert world.state() == {"policy": [], "users": [], "objects": ["team-a/mlflow/0/old"]}
    world.put(tenant(world.name).mark_key, tenant(world.name).mark.text.encode())
    assert world.provision(desired(tenant(world.name))).keys


def test_a_prefix_that_held_data_and_lost_its_mark_is_not_replaced_by_an_empty_one(world: World) -> None:
    own = tenant(world.name)
    keys = world.provision(desired(own)).keys
    world.s3.delete_object(Bucket=world.name, Key=own.mark_key)
    before = world.state()
    with pytest.raises(Invalid, match="is gone") as caught:
        world.provision(desired(own, must_exist=True), keys)
    assert caught.value.reason is Reason.PREFIX_LOST
    assert world.state() == before


def test_a_claim_that_loses_a_race_withdraws(world: World) -> None:
    own, above = tenant(world.name), tenant(world.name, "team-x", prefix="team-a")
    done: list[str] = []

    def claims_above_meanwhile(request: str) -> None:
        if request.startswith("PUT") and "owner.json" in request and not done:
            done.append(request)
            world.put(above.mark_key, above.mark.text.encode())

    with (
        tapped(Wire(meddler=claims_above_meanwhile)),
        pytest.raises(Invalid, match="lies within one that belongs to another"),
    ):
        world.provision(desired(own))
    assert world.state() == {"policy": [], "users": [], "objects": [above.mark_key]}


# Revocation


def test_revoked_keys_are_void_before_there_are_new_ones_and_the_artifacts_stay(world: World) -> None:
    own, other = tenant(world.name), tenant(world.name, name="another")
    old, others = world.provision(desired(own)).keys, world.provision(desired(other)).keys
    assert old
    new = issue_keys(world.admin, desired(own), old)
    assert works(world, own, old)
    assert works(world, own, new)

    revoke_keys(world.admin, desired(own))

    assert not works(world, own, old)
    assert not works(world, own, new)
    assert works(world, other, others)
    revoke_keys(world.admin, desired(own))  # as after a crash
    latest = world.provision(desired(own, must_exist=True), None).keys
    assert works(world, own, latest)
    assert not works(world, own, old)
    assert not works(world, own, new)
    assert len(world.users()) == 2
    assert world.s3_as(latest).get_object(Bucket=world.name, Key=f"{own.folder}model")["Body"].read() == b"1"


def test_nothing_is_revoked_where_nothing_was_made(world: World) -> None:
    revoke_keys(world.admin, desired(tenant(world.name)))
    assert world.users() == set()
