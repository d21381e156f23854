"""Objects that the class's admin removes: access ends before the first of them, once, and not with each round."""

from datetime import UTC, datetime
from typing import cast

from tests.unit.controllers.memory_api import MemoryApi
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.server.artifacts.prefixes import ArtifactPrefixes, PrefixMemory
from tracking_operator.controllers.server_class.s3_admin import BucketAccess, S3Admin
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.stores.s3.tenant import Desired
from tracking_operator.timings import Timings


class Store:
    """Stands for the bucket, and for what leads there; it notes what is done in it."""

    namespace = "team-a"

    def __init__(self) -> None:
        self.executor = self.tenant = self.mark = self.admin = self.bucket = self
        self.done: list[str] = []

    async def run_for(self, _: str, __: object, work: object, *___: object, **____: object) -> bool:
        self.done.append(getattr(work, "__name__", ""))
        return True


async def test_access_ends_once_and_again_when_it_is_not_known_any_more() -> None:
    store, memory = Store(), PrefixMemory()
    itself = cast(object, store)
    prefixes = ArtifactPrefixes(
        MemoryApi().as_client(),
        ObjectCache(owner_label=SERVER_LABEL),
        cast(S3Admin, itself),
        Timings(),
        lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    for _ in range(3):
        assert await prefixes.purge(cast(Desired, itself), cast(BucketAccess, itself), memory)
    assert store.done == ["retain", "purge", "purge", "purge"]
    memory.invalidate()
    await prefixes.purge(cast(Desired, itself), cast(BucketAccess, itself), memory)
    assert store.done[-2:] == ["retain", "purge"]
