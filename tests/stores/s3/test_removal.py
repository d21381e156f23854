"""The class's admin removes what is under a prefix, on a real versitygw: all of it, whatever the keys, and nothing else."""

from tests.stores.s3.world import World, desired, tenant
from tracking_operator.stores.s3.finalize import purge
from tracking_operator.stores.s3.objects import is_empty

SECONDS = 60


def test_the_admin_removes_every_version_and_says_whether_there_was_any(world: World) -> None:
    world.s3.put_bucket_versioning(Bucket=world.name, VersioningConfiguration={"Status": "Enabled"})
    own, neighbour = tenant(world.name), "team-a/mlflow-secret/model"
    world.provision(desired(own))
    for key in ("a", "a", "return\r", "new\nline", "b/c d/ü+&%.txt"):
        world.put(f"{own.folder}{key}")
    world.put(neighbour)
    assert purge(world.admin, desired(own), seconds=SECONDS)
    assert is_empty(world.admin, own)
    assert neighbour in world.objects()
    assert not purge(world.admin, desired(own), seconds=SECONDS)
