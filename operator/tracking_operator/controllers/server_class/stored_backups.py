"""Backups in the buckets of classes, as the class's admin sees them: signed URLs for pods, and whether all of a backup is there."""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from pydantic import ValidationError

from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.api.tracking_server_class import S3StoreSpec, TrackingServerClass
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.controllers.server_class.s3_admin import BucketAccess, S3Admin
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import KubeObject
from tracking_operator.pod_tools.backup_manifest import (
    Manifest,
    manifest_in,
    part_name,
    sha256_of,
)
from tracking_operator.stores.s3 import backups
from tracking_operator.stores.s3.backups import SignedUrls
from tracking_operator.stores.s3.tenant import OWN_FOLDER, Admin

Result = TypeVar("Result")

SECONDS_OF_A_REMOVAL: Final = 5.0


class StoredBackups:
    """What is stored of backups, wherever their class's bucket is."""

    def __init__(self, cache: ObjectCache, s3_admin: S3Admin) -> None:
        self._cache = cache
        self._s3_admin = s3_admin

    async def sign_uploads(self, backup: TrackingServerBackup) -> SignedUrls:
        """Sign URLs to write the backup's attempt with. Raises Failure."""
        class_store, access = await self._access(backup)
        work = partial(backups.sign_uploads, access.admin, folder_of(backup), class_store.require_encryption)
        return await self._run(backup, access, work)

    async def sign_downloads(self, backup: TrackingServerBackup) -> SignedUrls:
        """Sign URLs to read a complete backup with. Raises Failure."""
        _, access = await self._access(backup)
        manifest, _ = await self.complete(backup) or (None, "")
        if manifest is None:
            raise Invalid(
                Reason.BACKUP_BROKEN,
                f"Backup {backup.metadata.name} has lost objects in s3://{backup.status.bucket}/{backup.status.folder}, or they have "
                "another size: restore them, or take another backup.",
            )
        work = partial(backups.sign_downloads, access.admin, folder_of(backup), len(manifest.parts))
        return await self._run(backup, access, work)

    async def complete(self, backup: TrackingServerBackup) -> tuple[Manifest, str] | None:
        """The manifest of the backup's attempt, and its SHA-256, if all parts are there; else None. Raises Failure."""
        _, access = await self._access(backup)
        return await self._run(backup, access, partial(_complete, access.admin, folder_of(backup)))

    async def has_any(self, backup: TrackingServerBackup) -> bool:
        """Whether anything of the attempt is there. Raises Failure."""
        _, access = await self._access(backup)
        return bool(
            await self._run(backup, access, partial(backups.stored_sizes, access.admin, folder_of(backup)))
        )

    async def remove(self, backup: TrackingServerBackup, *, all_attempts: bool) -> bool:
        """Remove what is stored, for some seconds; return whether something was there. Raises Failure."""
        _, access = await self._access(backup)
        folder = folder_of(backup)
        if all_attempts:
            folder = folder.removesuffix(f"{backup.status.attempt}/")
        work = partial(backups.remove_backups, access.admin, [folder], seconds=SECONDS_OF_A_REMOVAL)
        return await self._run(backup, access, work)

    def is_class_gone(self, backup: TrackingServerBackup) -> bool:
        """Whether there is no such class any more, so that nobody can reach what is stored."""
        return self._cache.get(TRACKING_SERVER_CLASS, None, backup.status.class_name or "") is None

    async def _access(self, backup: TrackingServerBackup) -> tuple[S3StoreSpec, BucketAccess]:
        """How the bucket is reached that the backup is in. Raises Failure."""
        status = backup.status
        live = self._cache.get(TRACKING_SERVER_CLASS, None, status.class_name or "")
        found = self._cache.read_once(live, _class) if live else None
        class_store = found.spec.s3 if found else None
        if class_store is None or (class_store.bucket, class_store.endpoint) != (
            status.bucket,
            status.endpoint,
        ):
            raise Invalid(
                Reason.CLASS_NOT_FOUND,
                f"Class {status.class_name!r} is gone, or does not name bucket {status.bucket} at {status.endpoint or 'AWS'} any "
                "more, where the backup is: ask the platform team to have it do so again.",
            )
        return class_store, await self._s3_admin.access(status.class_name or "", class_store)

    async def _run(
        self, backup: TrackingServerBackup, access: BucketAccess, work: Callable[[], Result]
    ) -> Result:
        return await self._s3_admin.executor.run_for(backup.metadata.namespace, access.admin.bucket, work)


def folder_of(backup: TrackingServerBackup) -> str:
    """Where the backup's attempt is. Nothing but folders of backups is ever written, read or removed."""
    folder = backup.status.folder or ""
    if not folder.startswith(f"{OWN_FOLDER}/backups/") or not folder.endswith(f"/{backup.status.attempt}/"):
        raise Invalid(
            Reason.BACKUP_FAILED, f"status.folder of backup {backup.metadata.name} is no folder of a backup."
        )
    return folder


def _complete(admin: Admin, folder: str) -> tuple[Manifest, str] | None:
    content = backups.read_manifest(admin, folder)
    if content is None:
        return None
    try:
        manifest = manifest_in(content)
    except ValueError:  # whatever stands there, it is no backup
        return None
    wanted = {part_name(number): part.size for number, part in enumerate(manifest.parts)}
    stored = backups.stored_sizes(admin, folder)
    has_all = all(stored.get(name) == size for name, size in wanted.items())
    return (manifest, sha256_of(content)) if has_all else None


def _class(live: KubeObject) -> TrackingServerClass | None:
    try:
        return TrackingServerClass.model_validate(live)
    except ValidationError:
        return None
