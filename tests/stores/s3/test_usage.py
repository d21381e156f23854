"""How much is under a prefix, on a real versitygw: every current object once, and nothing of anybody else's."""

from dataclasses import replace

import pytest

from tests.stores.s3.world import World, desired, tenant
from tracking_operator.stores.s3 import usage
from tracking_operator.stores.s3.usage import PrefixUsage, list_part

SECONDS = 60


def whole(world: World) -> PrefixUsage:
    return list_part(world.admin, tenant(world.name), PrefixUsage(), seconds=SECONDS)


def test_objects_under_the_prefix_count_with_their_bytes_and_no_others(world: World) -> None:
    own = tenant(world.name)
    world.provision(desired(own))
    for key in ("a", "b/c d/ü+&%.txt", "new\nline", "return\r"):
        world.s3.put_object(Bucket=world.name, Key=f"{own.folder}{key}", Body=b"x" * 1000)
    world.put(f"{own.prefix}-of-a-neighbour/model")
    assert whole(world) == PrefixUsage(bytes=4000, objects=4, after=None)


def test_a_listing_goes_on_where_it_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tenant(world.name)
    world.provision(desired(own))
    for number in range(5):
        world.s3.put_object(Bucket=world.name, Key=f"{own.folder}{number}", Body=b"x" * 10)
    monkeypatch.setattr(usage, "MOST_PER_REQUEST", 2)
    found, counts = PrefixUsage(), []
    while found.goes_on:
        found = list_part(world.admin, own, found, seconds=0)
        counts.append(found.objects)
    assert counts == [2, 4, 5]
    assert found == PrefixUsage(bytes=50, objects=5, after=None)


def test_a_listing_ends_at_its_bound_and_says_that_there_is_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tenant(world.name)
    world.provision(desired(own))
    for number in range(5):
        world.put(f"{own.folder}{number}")
    monkeypatch.setattr(usage, "MOST_PER_REQUEST", 2)
    monkeypatch.setattr(usage, "MOST_OBJECTS", 3)
    found = whole(world)
    assert not found.goes_on
    assert found.after is not None
    assert found.objects == 4


def test_older_versions_do_not_count(world: World) -> None:
    own = tenant(world.name)
    world.s3.put_bucket_versioning(Bucket=world.name, VersioningConfiguration={"Status": "Enabled"})
    world.provision(desired(own))
    for size in (100, 7):
        world.s3.put_object(Bucket=world.name, Key=f"{own.folder}a", Body=b"x" * size)
    assert whole(world) == PrefixUsage(bytes=7, objects=1, after=None)


def test_a_prefix_with_another_ones_mark_is_not_listed(world: World) -> None:
    own = tenant(world.name)
    world.provision(desired(own))
    world.put(f"{own.folder}a")
    other = replace(own, mark=replace(own.mark, name="other"))
    found = list_part(world.admin, other, PrefixUsage(), seconds=SECONDS)
    assert found == PrefixUsage(after=None)
