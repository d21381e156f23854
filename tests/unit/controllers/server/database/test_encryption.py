"""The Secret with the keys to encrypt with: made once, used as it is, gone only with the data."""

from tests.unit.controllers.server.test_reconciler import World
from tests.unit.examples import secret
from tracking_operator.kube.objects import SECRET
from tracking_operator.resources.encryption_secret import KEYS, missing_keys

NAME = "mlflow-encryption"


async def test_is_made_once_and_never_written_again() -> None:
    world = World()
    await world.reconcile()
    made = world.child(SECRET, NAME)
    assert not missing_keys(made)
    assert "ownerReferences" not in made["metadata"]
    await world.reconcile()
    assert world.child(SECRET, NAME) == made


async def test_is_used_as_it_is_whoever_made_it() -> None:
    world = World()
    restored = world.api.store(secret(NAME, **dict.fromkeys(KEYS, "restored")))
    await world.reconcile()
    assert world.child(SECRET, NAME) == restored
    assert "create Secret" not in world.api.writes


async def test_that_lacks_a_key_is_told_and_left_alone() -> None:
    world = World()
    damaged = world.api.store(secret(NAME, kekPassphrase="restored", webhookKey=" "))
    await world.reconcile()
    assert world.condition("BackendStoreReady") == ("False", "SecretKeyMissing")
    assert world.child(SECRET, NAME) == damaged


async def test_stays_with_the_data_and_goes_with_it() -> None:
    for policy, is_left in (("Retain", True), ("Delete", False)):
        world = World({"deletionPolicy": policy})
        await world.reconcile()
        world.edit({"deletionPolicy": policy}, deletionTimestamp="2026-01-01T12:00:00Z")
        for _ in range(3):
            await world.reconcile()
        assert (f"Secret/{NAME}" in world.api.names()) is is_left, policy
