"""The Secret with the keys to encrypt with: made once, used as it is, gone only with the data."""

import pytest

from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.controllers.server.test_reconciler import NOW, World, serving
from tests.unit.examples import Manifest, model, secret
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import API_VERSION, SERVER_LABEL
from tracking_operator.controllers.server.database.encryption import (
    Encryption,
    EncryptionMemory,
    ServerWithKeys,
)
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import POD, SECRET
from tracking_operator.resources.encryption_secret import KEYS, LOST_AT_ANNOTATION, missing_keys
from tracking_operator.resources.metadata import KEEP

NAME = "mlflow-encryption"


def lose(world: World, what: str) -> None:
    """The Secret, or one of its keys, is deleted."""
    place = (SECRET, "team-a", NAME)
    found = world.api.objects.pop(place)
    if what == "all":
        world.cache.remove(found)
        return
    data = {key: text for key, text in found["data"].items() if key != what}
    world.cache.upsert(world.api.store(found | {"data": data}))


async def test_is_made_once_and_never_written_again() -> None:
    world = World()
    await world.reconcile()
    made = world.child(SECRET, NAME)
    assert not missing_keys(made)
    assert "ownerReferences" not in made["metadata"]
    await world.reconcile()
    assert world.child(SECRET, NAME) == made


async def test_of_an_earlier_operator_gets_the_marks_of_what_is_kept_once() -> None:
    world = await serving()
    made = world.child(SECRET, NAME)
    labels = made["metadata"]["labels"] | {"app.kubernetes.io/instance": "mlflow"}
    world.cache.upsert(
        world.api.store(made | {"metadata": made["metadata"] | {"labels": labels, "annotations": {}}})
    )
    await world.reconcile()
    metadata = world.child(SECRET, NAME)["metadata"]
    assert metadata["annotations"] == KEEP
    assert "app.kubernetes.io/instance" not in metadata["labels"]
    assert world.child(SECRET, NAME)["data"] == made["data"]
    await world.reconcile()
    assert world.api.writes == []


async def test_is_used_as_it_is_whoever_made_it() -> None:
    world = World()
    restored = world.api.store(secret(NAME, **dict.fromkeys(KEYS, "restored")))
    await world.reconcile()
    assert world.child(SECRET, NAME) == restored
    assert "create Secret" not in world.api.writes


async def test_is_made_again_as_it_was_while_an_operator_knows_it() -> None:
    for lost in ("all", *KEYS):
        world = await serving()
        before = world.child(SECRET, NAME)["data"]
        lose(world, lost)
        await world.reconcile()
        assert world.child(SECRET, NAME)["data"] == before, lost
        assert world.condition("SchemaReady") == ("True", "AsExpected")


async def test_that_nobody_knows_any_more_is_made_anew_and_what_is_lost_is_told() -> None:
    for lost in ("all", "kekPassphrase", "webhookKey"):
        world = await serving()
        lose(world, lost)
        world.restart()
        await world.reconcile()
        assert not missing_keys(world.child(SECRET, NAME))
        assert world.condition("SchemaReady") == ("True", "EncryptionKeyLost")
        assert world.condition("Ready")[0] == "True"
        assert "restore the Secret" in world.message("SchemaReady")
        world.restart()
        await world.reconcile()
        assert world.condition("SchemaReady") == ("True", "EncryptionKeyLost")
        started = world.child(POD, "mlflow-1")
        world.put(started | {"metadata": started["metadata"] | {"creationTimestamp": "2026-01-01T12:00:01Z"}})
        await world.reconcile()
        assert world.condition("SchemaReady") == ("True", "AsExpected"), "a pod has looked itself"


async def test_of_somebody_elses_that_lacks_a_key_is_told_and_left_alone() -> None:
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


async def test_a_date_without_a_zone_is_one_and_whatever_else_is_none() -> None:
    world = await serving()
    place = (SECRET, "team-a", NAME)
    for said in ("2026-01-01", "2026-01-01T10:00:00", "soon", "9" * 5000):
        found = world.api.objects[place]
        annotations = found["metadata"]["annotations"] | {LOST_AT_ANNOTATION: said}
        world.cache.upsert(
            world.api.store(found | {"metadata": found["metadata"] | {"annotations": annotations}})
        )
        await world.reconcile()
        assert world.condition("Ready")[0] == "True"


BACKUP: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "TrackingServerBackup",
    "metadata": {"name": "nightly", "namespace": "team-a"},
    "spec": {"serverRef": {"name": "old"}},
}


@pytest.mark.parametrize("is_kept", [True, False])
async def test_of_a_server_that_starts_from_a_backup_has_the_keys_of_its_rows_where_they_are_kept(
    *, is_kept: bool
) -> None:
    api, cache = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL)
    keys = Encryption(api.as_client(), cache)
    new = ServerWithKeys(model(), EncryptionMemory(), has_served=False, starts_from="nightly", now=NOW)
    waiting = await keys.ensure(new)
    assert [one.reason for one in waiting.condition_results] == [Reason.BACKUP_NOT_FOUND]
    assert api.writes == []

    cache.upsert(api.store(BACKUP))
    if is_kept:
        api.store(secret("old-encryption", **dict.fromkeys(KEYS, "of the backup")))
    await keys.ensure(new)
    made = api.objects[SECRET, "team-a", NAME]["data"]
    assert not missing_keys({"data": made})
    assert (len(set(made.values())) == 1) is is_kept
