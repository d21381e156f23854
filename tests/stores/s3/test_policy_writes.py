"""The one document that all servers of a bucket share, under concurrent change, on a real versitygw."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest

from tests.stores.s3.world import ADMIN_NAME, Wire, World, desired, tapped, tenant
from tests.waiting import patient
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid, Unavailable, Waiting
from tracking_operator.stores.s3 import bucket_policy, policy
from tracking_operator.stores.s3.bucket_lock import alone_on
from tracking_operator.stores.s3.bucket_policy import change_policy
from tracking_operator.stores.s3.finalize import retain
from tracking_operator.stores.s3.policy_change import change_for
from tracking_operator.stores.s3.provision import provision
from tracking_operator.stores.s3.tenant import Desired, PolicyShare, Role, Tenant, VersitygwUser
from tracking_operator.stores.s3.versitygw_users import UserAdmin

SHARED = Role(ADMIN_NAME)
"""A principal that exists; who it is does not matter to the policy."""


def foreign_policy(bucket: str) -> str:
    """What somebody else wrote: without Sid, with single values, and in an order of their own."""
    return json.dumps(
        {
            "Id": "somebody's",
            "Version": "2008-10-17",
            "Statement": [
                {
                    "Resource": f"arn:aws:s3:::{bucket}/public/*",
                    "Action": "s3:GetObject",
                    "Principal": {"AWS": ADMIN_NAME},
                    "Effect": "Allow",
                },
                {
                    "Sid": "backup",
                    "Effect": "Allow",
                    "Principal": {"AWS": [ADMIN_NAME]},
                    "Action": ["s3:ListBucket"],
                    "Resource": [f"arn:aws:s3:::{bucket}"],
                    "Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8"]}},
                },
            ],
        }
    )


def stored(world: World) -> str:
    return world.s3.get_bucket_policy(Bucket=world.name)["Policy"]


def test_100_servers_at_once_leave_100_pairs_of_statements(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "LARGEST_DOCUMENT", 60_000)
    tenants = [tenant(world.name, f"t{number}") for number in range(100)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda one: provision(world.admin, desired(one, SHARED), None), tenants))
    assert sorted(world.sids()) == sorted(f"{one.sid}{letter}" for one in tenants for letter in "LO")


def test_statements_of_others_keep_their_meaning_their_form_and_their_order(world: World) -> None:
    world.s3.put_bucket_policy(Bucket=world.name, Policy=foreign_policy(world.name))
    before = json.loads(stored(world))
    own = tenant(world.name)
    world.provision(desired(own))
    after = json.loads(stored(world))
    assert after["Statement"][:2] == before["Statement"]
    assert json.dumps(after["Statement"][:2]) == json.dumps(before["Statement"])
    assert (after["Id"], after["Version"]) == ("somebody's", "2008-10-17")
    assert len(after["Statement"]) == 4
    retain(world.admin, desired(own))
    assert json.loads(stored(world)) == before


def test_the_size_guard_fires_before_s3s_own_and_nothing_is_written(world: World) -> None:
    refused = None
    for number in range(60):
        before = world.state()
        try:
            world.provision(desired(tenant(world.name, f"team-{number}"), SHARED))
        except Invalid as failure:
            refused = failure
            break
    assert refused is not None
    assert refused.reason is Reason.BUCKET_POLICY_FULL
    assert "isolation abac" in refused.message
    assert "a second class with another bucket" in refused.message
    assert 24 <= number <= 45
    assert 18_500 < len(stored(world).encode()) <= 19_500
    assert world.state() == before
    # Those who are in stay well, and one who leaves makes room.
    world.provision(desired(tenant(world.name, "team-0"), SHARED))
    retain(world.admin, desired(tenant(world.name, "team-0"), SHARED))
    world.provision(desired(tenant(world.name, f"team-{number}"), SHARED))


def test_a_policy_that_is_too_large_already_can_shrink(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for namespace in ("team-a", "team-b"):
        world.provision(desired(tenant(world.name, namespace)))
    monkeypatch.setattr(policy, "LARGEST_DOCUMENT", 100)
    retain(world.admin, desired(tenant(world.name, "team-a")))
    assert world.sids() == [f"{tenant(world.name, 'team-b').sid}{letter}" for letter in "LO"]


def share_of(percent: int, *known: Tenant) -> PolicyShare:
    return PolicyShare(percent, frozenset(one.sid for one in known))


def as_new(of: Tenant, *known: Tenant, percent: int = 33, must_exist: bool = False) -> Desired:
    """A server of a namespace that has a share of the policy and of whose servers these are known."""
    return replace(desired(of, SHARED, must_exist=must_exist), share=share_of(percent, *known))


def test_a_namespace_with_50_servers_leaves_room_for_those_of_others(world: World) -> None:
    hostile = [tenant(world.name, "evil", f"mlflow-{number}") for number in range(50)]
    honest = [tenant(world.name, "team-a", f"mlflow-{number}") for number in range(8)]

    def make(one: Tenant) -> str:
        try:
            # None knows the others, like servers that are made at the same moment.
            world.provision(as_new(one))
        except Invalid as failure:
            assert failure.reason is Reason.LIMIT_EXCEEDED
            assert "ask the platform team for more" in failure.message
            return failure.message
        return ""

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(make, hostile))
    assert 7 <= answers.count("") <= 14
    theirs = [one for one in world.statements() if any(policy.is_of(one, of) for of in hostile)]
    assert len(policy.compact({"Statement": theirs}).encode()) <= policy.LARGEST_DOCUMENT * 33 // 100
    assert [make(one) for one in honest] == [""] * len(honest)
    # Those that were refused have no mark either, but for the few that were at it at the same moment.
    assert len([key for key in world.objects() if "/prefixes/evil/" in key]) < answers.count("") + 4


def test_a_share_counts_servers_that_were_there_before_the_operator_began(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [tenant(world.name, "evil", f"mlflow-{number}") for number in range(6)]
    for one in old:
        world.provision(desired(one, SHARED))
    monkeypatch.setattr(bucket_policy, "_namespaces", {})
    new = tenant(world.name, "evil", "another")
    before = world.state()
    with pytest.raises(Invalid, match="'evil' has 6 servers in the policy of bucket") as caught:
        world.provision(as_new(new, new, *old, percent=16))
    assert caught.value.reason is Reason.LIMIT_EXCEEDED
    assert world.state() == before
    # A larger share, and room that somebody makes.
    world.provision(as_new(new, new, *old, percent=33))
    for one in (new, *old[:2]):
        retain(world.admin, desired(one, SHARED))
    world.provision(as_new(new, new, *old, percent=16))


def test_a_server_that_is_there_already_goes_on_beyond_the_share(world: World) -> None:
    old = [tenant(world.name, "team-a", f"mlflow-{number}") for number in range(6)]
    for one in old:
        world.provision(desired(one, SHARED))
    wider = stored(world).replace("team-a/mlflow-3/*", "team-a/*")
    world.s3.put_bucket_policy(Bucket=world.name, Policy=wider)
    world.provision(as_new(old[3], *old, percent=5))
    assert "team-a/*" not in stored(world)
    # What has held artifacts is let in again also if somebody has removed its statements.
    retain(world.admin, desired(old[5], SHARED))
    world.provision(as_new(old[5], *old, percent=5, must_exist=True))
    assert f"{old[5].sid}L" in world.sids()


def test_an_honest_server_waits_for_one_write_of_a_namespace_that_writes_all_the_time(world: World) -> None:
    turns: list[str] = []
    begun, stop = Event(), Event()

    def write_all_the_time() -> None:
        while not stop.is_set():
            with alone_on(world.bucket, "evil"):
                turns.append("evil")
                begun.set()
                world.s3.list_objects_v2(Bucket=world.name, MaxKeys=1)

    with ThreadPoolExecutor(9) as threads:
        for _ in range(8):
            threads.submit(write_all_the_time)
        try:
            assert begun.wait(patient(10))
            for _ in range(20):
                asked = len(turns)
                with alone_on(world.bucket, "team-a"):
                    # One was under way; another may have begun before this thread had lined up.
                    assert len(turns) - asked <= 3
        finally:
            stop.set()


def test_a_race_that_is_lost_before_the_write_is_read_back_is_run_again(world: World) -> None:
    own, theirs = tenant(world.name), foreign_policy(world.name)
    left = 2

    def overwrite(request: str) -> None:
        nonlocal left
        if request.startswith("PUT") and request.endswith("?policy") and left:
            left -= 1
            world.s3.put_bucket_policy(Bucket=world.name, Policy=theirs)

    with tapped(Wire(meddler=overwrite)):
        world.provision(desired(own))
    assert world.sids() == ["", "backup", f"{own.sid}L", f"{own.sid}O"]


def test_a_race_that_is_lost_later_is_repaired_by_the_next_look(world: World) -> None:
    own = tenant(world.name)
    keys = world.provision(desired(own)).keys
    world.s3.put_bucket_policy(Bucket=world.name, Policy=foreign_policy(world.name))
    assert world.provision(desired(own), keys).keys is keys
    assert world.sids() == ["", "backup", f"{own.sid}L", f"{own.sid}O"]


def test_somebody_who_always_overwrites_is_reported(world: World) -> None:
    theirs = foreign_policy(world.name)

    def overwrite(request: str) -> None:
        if request.startswith("PUT") and request.endswith("?policy"):
            world.s3.put_bucket_policy(Bucket=world.name, Policy=theirs)

    with (
        tapped(Wire(meddler=overwrite)),
        pytest.raises(Unavailable, match="somebody else writes it at the same time") as caught,
    ):
        world.provision(desired(tenant(world.name)))
    assert caught.value.reason is Reason.ISOLATION_NOT_PROVED


def test_statements_that_somebody_has_widened_are_put_right(world: World) -> None:
    own = tenant(world.name)
    keys = world.provision(desired(own)).keys
    wider = stored(world).replace("team-a/mlflow/*", "team-a/*")
    world.s3.put_bucket_policy(Bucket=world.name, Policy=wider)
    world.put("team-a/other/model")
    world.s3_as(keys).get_object(Bucket=world.name, Key="team-a/other/model")
    world.provision(desired(own), keys)
    assert "team-a/*" not in stored(world)


# Principals that are gone


def test_a_server_whose_user_is_gone_blocks_no_other(world: World) -> None:
    broken, other = tenant(world.name, "team-a"), tenant(world.name, "team-b")
    world.provision(desired(broken))
    UserAdmin(world.admin, VersitygwUser()).delete(broken.user_names[0])
    found = world.provision(desired(other))
    assert world.sids() == [f"{other.sid}L", f"{other.sid}O"]
    assert f"{broken.sid}L named somebody who is gone" in found.remarks[0]
    # Its own next look makes it whole again.
    world.provision(desired(broken))
    assert len(world.statements()) == 4


def test_without_asking_for_users_single_servers_are_tried(world: World) -> None:
    broken, healthy, new = (tenant(world.name, f"team-{letter}") for letter in "abc")
    for one in (broken, healthy):
        world.provision(desired(one))
    UserAdmin(world.admin, VersitygwUser()).delete(broken.user_names[0])
    change = change_for(world.admin, desired(new, SHARED), (ADMIN_NAME,), is_known=None)
    assert change
    change_policy(world.admin, change)
    assert world.sids() == [f"{one.sid}{letter}" for one in (healthy, new) for letter in "LO"]


def test_a_role_that_does_not_exist_is_named_and_others_stay(world: World) -> None:
    world.provision(desired(tenant(world.name, "team-b")))
    before = stored(world)
    role = Role("arn:aws:iam::123456789012:role/mlflow-team-a")
    with pytest.raises(Waiting, match="role/mlflow-team-a does not exist") as caught:
        world.provision(desired(tenant(world.name), role))
    assert caught.value.reason is Reason.IDENTITY_NOT_FOUND
    assert stored(world) == before


def test_a_role_that_does_not_exist_and_a_user_who_is_gone_are_told_apart(world: World) -> None:
    broken, healthy = (tenant(world.name, f"team-{letter}") for letter in "ab")
    for one in (broken, healthy):
        world.provision(desired(one))
    UserAdmin(world.admin, VersitygwUser()).delete(broken.user_names[0])
    with pytest.raises(Waiting) as caught:
        world.provision(desired(tenant(world.name, "team-c"), Role("arn:aws:iam::123456789012:role/none")))
    assert caught.value.reason is Reason.IDENTITY_NOT_FOUND
    assert world.sids() == [f"{healthy.sid}L", f"{healthy.sid}O"]


def test_somebody_elses_statement_that_s3_refuses_is_reported_and_left_alone(world: World) -> None:
    users = UserAdmin(world.admin, VersitygwUser())
    users.create("leaver")
    theirs = foreign_policy(world.name).replace(ADMIN_NAME, "leaver")
    world.s3.put_bucket_policy(Bucket=world.name, Policy=theirs)
    users.delete("leaver")
    before = stored(world)
    with pytest.raises(Invalid, match="names somebody who is gone") as caught:
        world.provision(desired(tenant(world.name)))
    assert caught.value.reason is Reason.CONFLICT
    assert stored(world) == before
