"""How much is under a tenant's prefix: listed in parts, so that a long listing keeps nobody from the store."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tracking_operator.object_removal import MOST_PER_REQUEST
from tracking_operator.stores.s3.clients import PROBE, s3_client
from tracking_operator.stores.s3.errors import asking
from tracking_operator.stores.s3.ownership import owns
from tracking_operator.stores.s3.tenant import Admin, Tenant

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import ObjectTypeDef

MOST_OBJECTS: Final = 1_000_000
"""How many objects are listed at most, a thousand with each request; a prefix that holds more holds at least these."""


@dataclass(frozen=True)
class PrefixUsage:
    """What was found so far: current objects only, neither older versions nor uploads that were never finished."""

    bytes: int = 0
    objects: int = 0
    after: str | None = ""
    """The key after which the listing goes on; None: all was listed."""

    @property
    def goes_on(self) -> bool:
        """Whether there is more, and it is to be listed."""
        return self.after is not None and self.objects < MOST_OBJECTS


def list_part(admin: Admin, tenant: Tenant, found: PrefixUsage, *, seconds: float) -> PrefixUsage:
    """Go on with listing a tenant's prefix for so many seconds; return what was found in all.

    A prefix that is not the tenant's, by its mark, holds nothing of it. Keys beyond it do not count, whatever the store lists.

    Raises:
        Failure: the object store does not answer, or refuses.

    """
    until = time.monotonic() + seconds
    if not owns(admin, tenant):
        return PrefixUsage(after=None)
    while found.goes_on:
        found = _list_page(admin, tenant, found)
        if time.monotonic() >= until:
            break
    return found


def _list_page(admin: Admin, tenant: Tenant, found: PrefixUsage) -> PrefixUsage:
    with asking(admin, f"list what is under {tenant.folder}", "s3:ListBucket"):
        page = s3_client(admin, PROBE).list_objects_v2(
            Bucket=tenant.bucket,
            Prefix=tenant.folder,
            StartAfter=found.after or "",
            MaxKeys=MOST_PER_REQUEST,
        )
    listed = page.get("Contents", [])
    own = [one for one in listed if one["Key"].startswith(tenant.folder)]
    return PrefixUsage(
        bytes=found.bytes + _size(own),
        objects=found.objects + len(own),
        after=listed[-1]["Key"] if listed and page["IsTruncated"] else None,
    )


def _size(objects: "Iterable[ObjectTypeDef]") -> int:
    return sum(one["Size"] for one in objects)
