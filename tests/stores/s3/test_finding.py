"""A server's prefix is found by its mark: one listing by a digest of the owner, and one request for each entry."""

from dataclasses import replace
from io import BytesIO

from tests.stores.s3.world import Wire, World, desired, tapped, tenant
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3.finalize import drop, retain
from tracking_operator.stores.s3.ownership import MOST_ENTRIES, prefixes_of
from tracking_operator.stores.s3.provision import provision
from tracking_operator.stores.s3.tenant import Tenant, entries_of, mark_key

MANY = 60


def own(world: World, prefix: str = "of/an/earlier-template") -> Tenant:
    return Tenant.named(world.name, prefix, mark_of(world))


def mark_of(world: World) -> Mark:
    return replace(tenant(world.name).mark, namespace_uid="namespace-1")


def test_the_prefix_that_names_exactly_this_server_is_found(world: World) -> None:
    mine, mark = own(world), mark_of(world)
    assert prefixes_of(world.admin, mark) == ()
    world.provision(desired(mine))
    world.provision(desired(tenant(world.name, "team-b")))
    with tapped(Wire()) as wire:
        assert prefixes_of(world.admin, replace(mark, uid="of-the-server-that-was-made-again")) == (
            mine.prefix,
        )
    assert len(wire.sent) == 2
    for other in (
        replace(mark, cluster="another"),
        replace(mark, namespace="team"),
        replace(mark, name="other"),
        replace(mark, namespace_uid="of-a-namespace-that-was-made-again"),
    ):
        assert prefixes_of(world.admin, other) == ()
    handed_over = replace(mark, namespace_uid="of-a-namespace-that-was-made-again", takes_over=True)
    assert prefixes_of(world.admin, handed_over) == (mine.prefix,)


def test_a_prefix_that_is_kept_is_found_and_one_that_was_dropped_is_not(world: World) -> None:
    world.provision(desired(own(world)))
    retain(world.admin, desired(own(world)))
    assert prefixes_of(world.admin, mark_of(world)) == (own(world).prefix,)
    drop(world.admin, desired(own(world)))
    assert prefixes_of(world.admin, mark_of(world)) == ()
    assert world.objects() == []


def test_a_mark_with_names_is_written_anew_and_found_from_then_on(world: World) -> None:
    mine, mark = own(world), mark_of(world)
    world.provision(desired(mine))
    world.s3.delete_object(Bucket=world.name, Key=mine.entry_key)
    named = (
        f'{{"managedBy": "tracking-operator.dev", "cluster": "{mark.cluster}", "namespace": "{mark.namespace}", '
        f'"namespaceUid": "namespace-1", "name": "{mark.name}", "uid": "uid-0"}}'
    )
    world.put(mine.mark_key, named.encode())
    provision(world.admin, desired(mine, must_exist=True), None)
    assert world.s3.get_object(Bucket=world.name, Key=mine.mark_key)["Body"].read().decode() == mark.text
    assert prefixes_of(world.admin, mark) == (mine.prefix,)


def test_several_are_all_named(world: World) -> None:
    prefixes = ("one", "two")
    for prefix in prefixes:
        world.provision(desired(own(world, prefix)))
    assert prefixes_of(world.admin, mark_of(world)) == prefixes


def test_an_entry_proves_nothing_and_a_tenant_cannot_write_one(world: World) -> None:
    victim = tenant(world.name, "team-b")
    world.provision(desired(victim))
    world.put(f"{entries_of(mark_of(world))}{victim.prefix}/owner.json", b"")
    world.put(f"{entries_of(mark_of(world))}nothing/owner.json", b"")
    assert prefixes_of(world.admin, mark_of(world)) == ()


def test_many_marks_and_entries_stay_bounded(world: World) -> None:
    mine, mark = own(world, "z"), mark_of(world)
    for number in range(MANY):
        other = replace(mark, namespace=f"team-{number}")
        world.put(mark_key(f"other/{number}"), other.text.encode())
        world.put(Tenant.named(world.name, f"other/{number}", other).entry_key, b"")
    world.provision(desired(mine))
    with tapped(Wire()) as wire:
        assert prefixes_of(world.admin, mark) == (mine.prefix,)
    assert len(wire.sent) == 2, "whoever else has something in the bucket"
    for number in range(MANY):
        world.put(f"{entries_of(mark)}a/{number}/owner.json", b"")
    with tapped(Wire()) as wire:
        prefixes_of(world.admin, mark)
    assert len(wire.sent) <= 1 + MOST_ENTRIES


def test_a_mark_of_any_size_stays_bounded(world: World) -> None:
    mine = own(world)
    world.s3.upload_fileobj(BytesIO(b"x" * 20_000_000), world.name, mine.mark_key)
    world.put(mine.entry_key, b"")
    assert prefixes_of(world.admin, mark_of(world)) == ()
