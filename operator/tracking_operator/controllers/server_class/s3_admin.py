"""The buckets of the classes: how each is reached as its admin, and whether it can be used."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tracking_operator.api.tracking_server_class import S3StoreSpec
from tracking_operator.controllers.server_class.s3_identities import identity_of
from tracking_operator.controllers.server_class.store_of_class import StoreOfClass
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3.bucket_address import Bucket, Keys
from tracking_operator.stores.s3.finalize import servers_with_rights, take_rights
from tracking_operator.stores.s3.ownership import prefixes_of
from tracking_operator.stores.s3.preflight import BucketSettings, preflight, probe
from tracking_operator.stores.s3.tenant import Admin, Identity

SECONDS_TO_ANSWER: Final = 8.0


@dataclass(frozen=True)
class BucketAccess:
    """A bucket that can be used, and its admin.

    ``remarks`` say what could be safer there. They are for people: no server is verified again because they change, as they
    do with each server that is added.
    """

    admin: Admin
    remarks: tuple[str, ...] = field(default=(), compare=False)


class S3Admin(StoreOfClass[S3StoreSpec, BucketAccess]):
    """The buckets of all classes."""

    async def prefixes_of(self, access: BucketAccess, mark: Mark) -> tuple[str, ...]:
        """The prefixes whose marks name exactly this server. Raises Failure."""
        bucket = access.admin.bucket
        return await self.executor.run_for(mark.namespace, bucket, prefixes_of, access.admin, mark)

    async def servers_with_rights(
        self, access: BucketAccess, identity: Identity, cluster: str
    ) -> frozenset[str]:
        """The servers of a cluster, by the keys of their marks, that are let in. Raises Failure."""
        work = partial(servers_with_rights, access.admin, identity, cluster)
        return await self.executor.run_for_class(access.admin.bucket, work)

    async def take_rights(
        self, access: BucketAccess, identity: Identity, cluster: str, servers: frozenset[str]
    ) -> tuple[str, ...]:
        """Take the statements and users of such servers away; return what they were called. Raises Failure."""
        work = partial(take_rights, access.admin, identity, cluster, servers)
        return await self.executor.run_for_class(access.admin.bucket, work)

    async def _ask(self, class_store: S3StoreSpec, well: BucketAccess | None, *, fresh: bool) -> BucketAccess:
        """Look at everything when there is news, else only whether the bucket still answers."""
        admin = Admin(
            bucket=Bucket(
                name=class_store.bucket,
                region=class_store.region,
                endpoint=class_store.endpoint,
                addressing_style=class_store.effective_addressing_style,
                ca_certificates=await self._objects.ca_certificates(
                    class_store.ca_config_map_ref, "s3.caConfigMapRef", fresh=fresh
                ),
            ),
            keys=await self._keys(class_store, fresh=fresh),
        )
        if well and well.admin == admin and not fresh:
            await self.executor.run_for_class(admin.bucket, partial(probe, admin), seconds=SECONDS_TO_ANSWER)
            return well
        look = partial(
            preflight, admin, create=_bucket_settings(class_store), identity=identity_of(class_store, None)
        )
        remarks = await self.executor.run_for_class(admin.bucket, look, seconds=SECONDS_TO_ANSWER)
        return BucketAccess(admin, remarks)

    async def _keys(self, class_store: S3StoreSpec, *, fresh: bool) -> Keys | None:
        reference = class_store.admin_secret_ref
        if reference is None:
            return None
        found = await self._objects.secret(
            reference, "s3.adminSecretRef", "accessKeyId", "secretAccessKey", fresh=fresh
        )
        source = f"Secret {self._objects.namespace}/{reference.name}"
        return Keys(found["accessKeyId"], found["secretAccessKey"], source)


def _bucket_settings(class_store: S3StoreSpec) -> BucketSettings | None:
    wanted = class_store.create
    if wanted is None:
        return None
    return BucketSettings(
        versioning=wanted.versioning,
        encryption=wanted.encryption,
        kms_key_id=wanted.kms_key_id,
        block_public_access=wanted.block_public_access,
        abort_incomplete_uploads_after_days=wanted.abort_incomplete_uploads_after_days,
    )
