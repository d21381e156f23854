"""A server's own prefix in the class's bucket: its identity, its Secret, and the rotation of its keys.

What was verified is remembered, so that a look at a server whose prefix is as it should be asks S3 nothing.
The Secret is the record of the keys in use; which keys work at all is recorded by the object store itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, ParamSpec, TypeVar

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.placement import ArtifactPlacement
from tracking_operator.api.tracking_server_class import S3StoreSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server.managed_stores.credentials_cycle import (
    CredentialsCycle,
    CycleMemory,
    Wanted,
)
from tracking_operator.controllers.server.managed_stores.states import ArtifactState
from tracking_operator.controllers.server.usage.measured import Measured
from tracking_operator.controllers.server_class.s3_admin import BucketAccess, S3Admin
from tracking_operator.controllers.server_class.s3_identities import identity_of
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.artifacts_secret import (
    ArtifactKeys,
    artifact_keys_in,
    build_artifacts_secret,
)
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.s3 import S3Artifacts
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.finalize import drop, purge, retain
from tracking_operator.stores.s3.objects import is_empty
from tracking_operator.stores.s3.provision import (
    Provisioned,
    issue_keys,
    provision,
    retire_keys,
    revoke_keys,
)
from tracking_operator.stores.s3.tenant import Desired, PolicyShare, Tenant, sid_start
from tracking_operator.stores.s3.usage import PrefixUsage, list_part
from tracking_operator.timings import Timings

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


SECONDS_IN_ONE_GO: Final = 3.0
"""How long objects are listed or removed in one go: less than what makes a namespace slow (stores/executor.py)."""


@dataclass(frozen=True)
class WantedPrefix(Wanted):
    """What a server asks of its prefix, beside that it is there."""

    policy_percent: int = 100
    """How much of the bucket's policy all servers of the namespace may take together."""
    is_rolled_out: bool = False
    """Whether all pods were made with the keys that the Secret holds now."""


@dataclass(frozen=True)
class PrefixState(ArtifactState):
    """How a server's prefix was found."""

    is_rotating: bool = False
    """Whether older keys still work, because pods or clients may use them."""
    remarks: tuple[str, ...] = ()

    def result(self, place: str) -> ConditionResult:
        """Say that the prefix can be used, and what goes on there."""
        sentences = [f"Artifacts are under {place}."]
        if self.is_rotating and self.keys:
            sentences.append(
                f"Pods go over to access key {self.keys.access_key_id}; older keys work until they have."
            )
        sentences += self.remarks
        reason = Reason.ROTATING_CREDENTIALS if self.is_rotating else Reason.AS_EXPECTED
        return ConditionResult(ConditionType.ARTIFACT_STORE_READY, Verdict.OK, reason, " ".join(sentences))


@dataclass(frozen=True)
class _Case:
    """One server's prefix, and all that is needed to work on it."""

    server: ServerModel
    store: S3Artifacts
    access: BucketAccess
    desired: Desired
    wanted: WantedPrefix
    memory: "PrefixMemory"

    @property
    def mark(self) -> Mark:
        """Whose the prefix is."""
        return self.desired.tenant.mark


@dataclass(frozen=True)
class _Verified:
    """What was verified: nothing has to be asked again as long as the same is wanted."""

    access: BucketAccess
    desired: Desired
    access_key_id: str | None
    is_rotating: bool
    remarks: tuple[str, ...] = field(default=())

    def holds_for(self, case: _Case, keys: Keys | None) -> bool:
        """Whether exactly this is wanted now. What was found need not be looked for because it must exist by now."""
        known = replace(self.desired, must_exist=case.desired.must_exist)
        wanted = case.access, case.desired, keys.access_key_id if keys else None
        return (self.access, known, self.access_key_id) == wanted


@dataclass
class PrefixMemory(CycleMemory[ArtifactKeys, _Verified]):
    """What is remembered of one server's prefix."""

    has_access_ended: bool = False
    """Whether the identity and the statements of a server that is being deleted are gone."""

    def invalidate(self) -> None:
        """Have the store asked again."""
        super().invalidate()
        self.has_access_ended = False


class ArtifactPrefixes(CredentialsCycle[_Case, ArtifactKeys, _Verified, PrefixState]):
    """Makes the prefixes of servers as they should be."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        s3_admin: S3Admin,
        timings: Timings,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(now)
        self._timings = timings
        self._cache = cache
        self._secrets = ManagedSecrets(kube, cache)
        self._s3_admin = s3_admin

    async def ensure(
        self,
        server: ServerModel,
        store: S3Artifacts,
        class_store: S3StoreSpec,
        access: BucketAccess,
        wanted: WantedPrefix,
        *,
        mark: Mark,
        memory: PrefixMemory,
    ) -> PrefixState:
        """Make the identity, its policy and its Secret as wanted; what ``memory`` knows to be so is not asked.

        Raises:
            Failure: it cannot be done, or not yet.

        """
        _require_same_place(store, access)
        desired = self.desired(mark, store.prefix, class_store, store.role_arn, must_exist=wanted.must_exist)
        desired = replace(desired, share=self._share(mark, wanted))
        return await self._go_on(_Case(server, store, access, desired, wanted, memory))

    def desired(
        self,
        mark: Mark,
        prefix: str,
        class_store: S3StoreSpec,
        role_arn: str | None,
        *,
        must_exist: bool = False,
        deletes: bool = False,
    ) -> Desired:
        """What has to exist in S3 for a server. Raises Invalid: the prefix cannot be used."""
        return Desired(
            tenant=Tenant.named(class_store.bucket, prefix, mark),
            isolation=class_store.isolation,
            identity=identity_of(class_store, role_arn),
            require_encryption=class_store.require_encryption,
            must_exist=must_exist,
            deletes=deletes,
        )

    def desired_at_the_end(
        self, mark: Mark, artifacts: ArtifactPlacement, class_store: S3StoreSpec, role_arn: str | None
    ) -> Desired:
        """What a server that is being deleted has in S3. Raises Invalid: the prefix cannot be used."""
        return self.desired(mark, artifacts.prefix, class_store, role_arn, deletes=True)

    async def grant_deletion(
        self,
        server: ServerModel,
        store: S3Artifacts,
        desired: Desired,
        access: BucketAccess,
        memory: PrefixMemory,
    ) -> None:
        """Let a server's identity delete versions, too, and see to its Secret, for the Job that removes its artifacts.

        Raises:
            Failure: it cannot be done, or not yet.

        """
        wanted = WantedPrefix(rotation="", rotate_every=None, must_exist=False)
        case = _Case(server, store, access, desired, wanted, memory)
        memory.invalidate()
        _, keys = await self._verify(case, await self._held(case))
        await self._write(case, keys)

    async def measure(self, tenant: Tenant, access: BucketAccess) -> Measured:
        """How much is under the prefix, listed in short parts, between which others have their turn. Raises Failure."""
        found = PrefixUsage()
        while found.goes_on:
            found = await self._run(
                tenant.mark, access, list_part, access.admin, tenant, found, seconds=SECONDS_IN_ONE_GO
            )
        return Measured(
            artifact_bytes=found.bytes,
            artifact_objects=found.objects,
            artifacts_incomplete=found.after is not None or None,
        )

    async def is_empty(self, desired: Desired, access: BucketAccess) -> bool:
        """Whether nothing is left under the prefix. Raises Failure."""
        return await self._run(desired.tenant.mark, access, is_empty, access.admin, desired.tenant)

    async def retain(self, desired: Desired, access: BucketAccess) -> None:
        """Take a deleted server's identity and statements away; its artifacts stay, with their mark. Raises Failure."""
        await self._run(desired.tenant.mark, access, retain, access.admin, desired)

    async def purge(self, desired: Desired, access: BucketAccess, memory: PrefixMemory) -> bool:
        """Go on with removing a deleted server's artifacts as the class's admin: for a moment at a time.

        Its access ends first, once. Returns whether something was there to remove.

        Raises:
            Failure: it cannot be done, or not yet.

        """
        if not memory.has_access_ended:
            await self.retain(desired, access)
            memory.has_access_ended = True
        mark, admin = desired.tenant.mark, access.admin
        return await self._run(mark, access, purge, admin, desired, seconds=SECONDS_IN_ONE_GO)

    async def drop(self, desired: Desired, access: BucketAccess) -> None:
        """Take away what is left of a deleted server once its artifacts are gone. Raises Failure."""
        await self._run(desired.tenant.mark, access, drop, access.admin, desired)

    def _memory(self, case: _Case) -> CycleMemory[ArtifactKeys, _Verified]:
        return case.memory

    async def _secret(self, case: _Case) -> KubeObject | None:
        return await self._secrets.read(case.server, case.server.names.artifacts)

    def _read(self, secret: KubeObject) -> ArtifactKeys | None:
        return artifact_keys_in(secret)

    async def _revoke(self, case: _Case, held: ArtifactKeys | None) -> None:
        """End all access. If that is interrupted, it is done again: keys that nobody has recorded are void then, too."""
        case.memory.invalidate()
        await self._run(case.mark, case.access, revoke_keys, case.access.admin, case.desired)

    async def _verify(self, case: _Case, held: ArtifactKeys | None) -> tuple[_Verified, ArtifactKeys | None]:
        """What was verified before, or is now; and the keys to use."""
        known, keys = case.memory.verified, _plain(held) if held else None
        if known and known.holds_for(case, keys):
            return known, held
        case.memory.invalidate()
        found: Provisioned = await self._run(
            case.mark, case.access, provision, case.access.admin, case.desired, keys
        )
        access_key_id = found.keys.access_key_id if found.keys else None
        verified = _Verified(case.access, case.desired, access_key_id, found.has_other_keys, found.remarks)
        case.memory.verified = verified
        # versitygw renews the secret of a user, whose access key id stays the same.
        if found.keys is None or found.keys == keys:
            return verified, held if found.keys else None
        return verified, self._new_keys(found.keys, case.wanted)

    def _share(self, mark: Mark, wanted: WantedPrefix) -> PolicyShare:
        """What the namespace may have of the bucket's policy, and which statements are those of its servers."""
        servers = self._cache.names(TRACKING_SERVER, mark.namespace)
        sids = frozenset(sid_start(replace(mark, name=name)) for _, name in servers)
        return PolicyShare(wanted.policy_percent, sids)

    def _new_keys(self, keys: Keys, wanted: WantedPrefix) -> ArtifactKeys:
        return ArtifactKeys(
            keys.access_key_id, keys.secret_access_key, wanted.rotation, self._now().replace(microsecond=0)
        )

    async def _write_secret(self, case: _Case, credentials: ArtifactKeys | None) -> None:
        ca_certificates = case.access.admin.bucket.ca_certificates
        if credentials is None and ca_certificates is None:
            return
        await self._secrets.write(
            case.server, build_artifacts_secret(case.server, case.store, credentials, ca_certificates)
        )

    def _settled(self, credentials: ArtifactKeys | None, verified: _Verified) -> PrefixState:
        return PrefixState(credentials, remarks=verified.remarks)

    async def _rotate(self, case: _Case, old: ArtifactKeys, verified: _Verified) -> PrefixState:
        """Make a second pair of keys and tell the pods, which are rolled for it. Both work until they are."""
        issued = await self._run(
            case.mark, case.access, issue_keys, case.access.admin, case.desired, _plain(old)
        )
        new = self._new_keys(issued, case.wanted)
        await self._write(case, new)
        case.memory.verified = replace(verified, access_key_id=new.access_key_id, is_rotating=True)
        return PrefixState(
            new,
            is_rotating=True,
            requeue_after=self._timings.between_looks_at_old_keys,
            remarks=verified.remarks,
        )

    async def _retire(self, case: _Case, keys: ArtifactKeys, verified: _Verified) -> PrefixState:
        """Take older keys away, once no pod uses them any more."""
        state = PrefixState(
            keys,
            is_rotating=True,
            requeue_after=self._timings.between_looks_at_old_keys,
            remarks=verified.remarks,
        )
        times = self._timings
        pause = times.until_pods_use_new_keys if case.server.proxied else times.until_clients_use_new_keys
        waited, pause = self._age(keys), min(pause, case.wanted.deadline)
        if waited < pause:
            return replace(state, requeue_after=pause - waited)
        if not case.wanted.is_rolled_out and waited < case.wanted.deadline:
            return state
        await self._run(case.mark, case.access, retire_keys, case.access.admin, case.desired, _plain(keys))
        case.memory.verified = replace(verified, is_rotating=False)
        return replace(state, is_rotating=False, requeue_after=None)

    async def _run(
        self,
        whose: Mark,
        access: BucketAccess,
        work: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result:
        return await self._s3_admin.executor.run_for(
            whose.namespace, access.admin.bucket, work, *arguments, **keywords
        )


def _plain(keys: ArtifactKeys) -> Keys:
    return Keys(keys.access_key_id, keys.secret_access_key, "the server's own Secret")


def _require_same_place(store: S3Artifacts, access: BucketAccess) -> None:
    """The admin's keys are for the class's bucket only, whatever a server's record says."""
    bucket = access.admin.bucket
    if (store.bucket, store.endpoint) != (bucket.name, bucket.endpoint):
        raise Invalid(
            Reason.RESOLVED_DIFFERS,
            f"The class names bucket {bucket} now, and the artifacts of this server are under {store.uri} at "
            f"{store.endpoint or 'AWS'}, which its pods go on using: set the class back; or, if the artifacts were moved "
            "there, ask the platform team to write the new bucket and endpoint into status.placement.artifacts.",
        )
