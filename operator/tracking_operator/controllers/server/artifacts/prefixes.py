"""A server's own prefix in the class's bucket: its identity, its Secret, and the rotation of its keys.

What was verified is remembered, so that a look at a server whose prefix is as it should be asks S3 nothing.
The Secret is the record of the keys in use; which keys work at all is recorded by the object store itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ParamSpec, TypeVar

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.placement import ArtifactPlacement
from tracking_operator.api.tracking_server_class import S3StoreSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server_class.s3_admin import BucketAccess, S3Admin
from tracking_operator.controllers.server_class.s3_identities import identity_of
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.resources.artifacts_secret import (
    ArtifactKeys,
    artifact_keys_in,
    build_artifacts_secret,
)
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.s3 import S3Artifacts
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.finalize import drop, retain
from tracking_operator.stores.s3.objects import is_empty
from tracking_operator.stores.s3.provision import (
    Provisioned,
    issue_keys,
    provision,
    retire_keys,
    revoke_keys,
)
from tracking_operator.stores.s3.tenant import Desired, PolicyShare, Tenant, sid_start
from tracking_operator.timings import Timings

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WantedPrefix:
    """What a server asks of its prefix, beside that it is there."""

    rotation: str
    """The value of the annotation that asks for new keys."""
    rotate_every: float | None
    """After how many seconds keys are too old; None: never."""
    must_exist: bool
    """Whether the prefix has held data, so that an empty one may not take its place."""
    policy_percent: int = 100
    """How much of the bucket's policy all servers of the namespace may take together."""
    is_rolled_out: bool = False
    """Whether all pods were made with the keys that the Secret holds now."""
    is_revoked: bool = False
    """Whether no keys that were handed out before may work any more."""
    deadline: float = math.inf
    """How many seconds after new keys the old ones go, whether pods use them or not."""


@dataclass(frozen=True)
class PrefixState:
    """How a server's prefix was found."""

    keys: ArtifactKeys | None
    """The keys in use; None for an identity without keys of the operator's making."""
    is_rotating: bool = False
    """Whether older keys still work, because pods or clients may use them."""
    requeue_after: float | None = None
    """In how many seconds the rotation can go on."""
    remarks: tuple[str, ...] = ()


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
    has_other_keys: bool
    remarks: tuple[str, ...] = field(default=())

    def holds_for(self, case: _Case, keys: Keys | None) -> bool:
        """Whether exactly this is wanted now. What was found need not be looked for because it must exist by now."""
        known = replace(self.desired, must_exist=case.desired.must_exist)
        wanted = case.access, case.desired, keys.access_key_id if keys else None
        return (self.access, known, self.access_key_id) == wanted


@dataclass
class PrefixMemory:
    """What is remembered of one server's prefix."""

    verified: _Verified | None = None

    def invalidate(self) -> None:
        """Have the object store asked again."""
        self.verified = None


class ArtifactPrefixes:
    """Makes the prefixes of servers as they should be."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        buckets: S3Admin,
        timings: Timings,
        now: Callable[[], datetime],
    ) -> None:
        self._timings = timings
        self._cache = cache
        self._secrets = ManagedSecrets(kube, cache)
        self._buckets = buckets
        self._now = now

    async def ensure(
        self,
        server: ServerModel,
        store: S3Artifacts,
        offer: S3StoreSpec,
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
        desired = self.desired(mark, store.prefix, offer, store.role_arn, must_exist=wanted.must_exist)
        desired = replace(desired, share=self._share(mark, wanted))
        case = _Case(server, store, access, desired, wanted, memory)
        held = artifact_keys_in(await self._secrets.read(server, server.names.artifacts))
        if wanted.is_revoked:
            # If that is interrupted, it is done again: keys that nobody has recorded are void then, too.
            memory.invalidate()
            await self._run(case.mark, access, revoke_keys, access.admin, desired)
            held = None
        verified, keys = await self._verify(case, held)
        await self._write_secret(case, keys)
        if keys is None:
            return PrefixState(None, remarks=verified.remarks)
        if verified.has_other_keys:
            return await self._retire_other_keys(case, keys, verified)
        if self._is_rotation_due(keys, wanted):
            return await self._rotate(case, keys, verified)
        return PrefixState(keys, remarks=verified.remarks)

    def desired(
        self,
        mark: Mark,
        prefix: str,
        offer: S3StoreSpec,
        role_arn: str | None,
        *,
        must_exist: bool = False,
        deletes: bool = False,
    ) -> Desired:
        """What has to exist in S3 for a server. Raises Invalid: the prefix cannot be used."""
        return Desired(
            tenant=Tenant.named(offer.bucket, prefix, mark),
            isolation=offer.isolation,
            identity=identity_of(offer, role_arn),
            require_encryption=offer.require_encryption,
            must_exist=must_exist,
            deletes=deletes,
        )

    def desired_at_the_end(
        self, mark: Mark, artifacts: ArtifactPlacement, offer: S3StoreSpec, role_arn: str | None
    ) -> Desired:
        """What a server that is being deleted has in S3. Raises Invalid: the prefix cannot be used."""
        return self.desired(mark, artifacts.prefix, offer, role_arn, deletes=True)

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
        held = artifact_keys_in(await self._secrets.read(server, server.names.artifacts))
        _, keys = await self._verify(case, held)
        await self._write_secret(case, keys)

    async def is_empty(self, desired: Desired, access: BucketAccess) -> bool:
        """Whether nothing is left under the prefix. Raises Failure."""
        return await self._run(desired.tenant.mark, access, is_empty, access.admin, desired.tenant)

    async def retain(self, desired: Desired, access: BucketAccess) -> None:
        """Take a deleted server's identity and statements away; its artifacts stay, with their mark. Raises Failure."""
        await self._run(desired.tenant.mark, access, retain, access.admin, desired)

    async def drop(self, desired: Desired, access: BucketAccess) -> None:
        """Take away what is left of a deleted server once its artifacts are gone. Raises Failure."""
        await self._run(desired.tenant.mark, access, drop, access.admin, desired)

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

    async def _write_secret(self, case: _Case, keys: ArtifactKeys | None) -> None:
        ca_certificates = case.access.admin.bucket.ca_certificates
        if keys is None and ca_certificates is None:
            return
        await self._secrets.write(
            case.server, build_artifacts_secret(case.server, case.store, keys, ca_certificates)
        )

    def _is_rotation_due(self, keys: ArtifactKeys, wanted: WantedPrefix) -> bool:
        is_too_old = wanted.rotate_every is not None and self._age(keys) >= wanted.rotate_every
        return keys.rotated_for != wanted.rotation or is_too_old

    async def _rotate(self, case: _Case, old: ArtifactKeys, verified: _Verified) -> PrefixState:
        """Make a second pair of keys and tell the pods, which are rolled for it. Both work until they are."""
        issued = await self._run(
            case.mark, case.access, issue_keys, case.access.admin, case.desired, _plain(old)
        )
        new = self._new_keys(issued, case.wanted)
        await self._write_secret(case, new)
        case.memory.verified = replace(verified, access_key_id=new.access_key_id, has_other_keys=True)
        return PrefixState(
            new,
            is_rotating=True,
            requeue_after=self._timings.between_looks_at_old_keys,
            remarks=verified.remarks,
        )

    async def _retire_other_keys(self, case: _Case, keys: ArtifactKeys, verified: _Verified) -> PrefixState:
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
        case.memory.verified = replace(verified, has_other_keys=False)
        return replace(state, is_rotating=False, requeue_after=None)

    def _age(self, keys: ArtifactKeys) -> float:
        return (self._now() - keys.rotated_at).total_seconds()

    async def _run(
        self,
        whose: Mark,
        access: BucketAccess,
        work: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result:
        return await self._buckets.executor.run_for(
            whose.namespace, access.admin.bucket, work, *arguments, **keywords
        )


def _plain(keys: ArtifactKeys) -> Keys:
    return Keys(keys.access_key_id, keys.secret_access_key, "the server's own Secret")


def prefix_result(store: S3Artifacts, state: PrefixState) -> ConditionResult:
    """Say that the prefix can be used, and what goes on there."""
    type_ = ConditionType.ARTIFACT_STORE_READY
    sentences = [f"Artifacts are under {store.uri}."]
    if state.is_rotating and state.keys:
        sentences.append(
            f"Pods go over to access key {state.keys.access_key_id}; older keys work until they have."
        )
    sentences += state.remarks
    reason = Reason.ROTATING_CREDENTIALS if state.is_rotating else Reason.AS_EXPECTED
    return ConditionResult(type_, Verdict.OK, reason, " ".join(sentences))


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
