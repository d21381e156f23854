"""Sees to it that a server has keys to encrypt with: made once, taken up again, made anew only where nobody has them any more."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.conditions.step_result import StepResult, stopped_unwatched
from tracking_operator.controllers.kinds import TRACKING_SERVER_BACKUP
from tracking_operator.controllers.server.children.pods import server_pods
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.json_patch import JsonPatchOperation
from tracking_operator.kube.objects import POD, SECRET, KubeObject, name_of, namespace_of
from tracking_operator.naming import ChildNames
from tracking_operator.passwords import new_key
from tracking_operator.resources.encryption_secret import (
    build_encryption_secret,
    completed_secret,
    is_of_server,
    keys_in,
    lost_at,
    missing_keys,
    new_keys,
)
from tracking_operator.resources.metadata import kept_marks
from tracking_operator.resources.server_model import ServerModel

TYPE: Final = ConditionType.SCHEMA_READY


@dataclass
class EncryptionMemory:
    """What is remembered of one server's keys."""

    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the Secret held last: from this it is made again if it is lost."""


@dataclass(frozen=True)
class ServerWithKeys:
    """Whose keys they are, and whether it may have encrypted anything."""

    model: ServerModel
    memory: EncryptionMemory
    has_served: bool
    starts_from: str | None
    """The backup that its rows come from, if there is one."""
    now: datetime


class Encryption:
    """The Secret ``NAME-encryption`` of each server. It has no owner: what it encrypts may outlive the server."""

    def __init__(self, kube: KubeClient, cache: ObjectCache) -> None:
        self._kube = kube
        self._cache = cache

    async def ensure(self, server: ServerWithKeys) -> StepResult[None]:
        """Make the Secret if there is none; one that is there is used as it is, whoever made it.

        A lost one is made again as it was, as long as an operator knows that; if nobody does, other keys are made, and a remark
        says what is lost.
        """
        try:
            secret = await self._ensure(server)
        except Failure as failure:
            return stopped_unwatched(failure, ConditionType.BACKEND_STORE_READY)
        remark = self._remark(server.model, secret)
        return StepResult(None, remarks={TYPE: remark} if remark else {})

    async def _ensure(self, server: ServerWithKeys) -> KubeObject:
        name = server.model.names.encryption
        place = SECRET, server.model.namespace, name
        try:
            found = self._cache.whole(*place) or await self._kube.get(*place)
            if found is None:
                found = await self._make(server)
            elif missing := missing_keys(found):
                found = await self._complete(server, found, missing)
            elif is_of_server(found, server.model) and (marks := kept_marks(found)):
                found = await self._patch(found, marks)
        except ApiError as error:
            raise failure_from(error, f"make Secret {name}") from error
        server.memory.keys = keys_in(found)
        return found

    async def _make(self, server: ServerWithKeys) -> KubeObject:
        known = server.memory.keys
        is_lost = server.has_served and not known
        keys = known or await self._keys_of_backup(server) or new_keys(new_key)
        # Not applied: that would replace the keys of one that has come meanwhile.
        made = build_encryption_secret(server.model, keys, lost_at=server.now if is_lost else None)
        created = await self._kube.create(made)
        self._cache.upsert(created)
        return created

    async def _keys_of_backup(self, server: ServerWithKeys) -> Mapping[str, str] | None:
        """The keys of the server that was backed up, with which the rows of the backup are encrypted; None where nobody has them.

        Raises Waiting: there is no such backup, so that nobody knows whose keys they are.
        """
        if server.starts_from is None or server.has_served:
            return None
        namespace = server.model.namespace
        backup = self._cache.get(TRACKING_SERVER_BACKUP, namespace, server.starts_from)
        if backup is None:
            raise Waiting(
                Reason.BACKUP_NOT_FOUND,
                f"There is no TrackingServerBackup {server.starts_from} in namespace {namespace}: make it, or name another one in "
                "spec.bootstrap.fromBackup.",
                retry_after=UNWATCHED_RETRY_SECONDS,
            )
        source = backup["spec"]["serverRef"]["name"]
        found = await self._kube.get(SECRET, namespace, ChildNames(source).encryption)
        return None if found is None or missing_keys(found) else keys_in(found)

    async def _complete(self, server: ServerWithKeys, found: KubeObject, missing: list[str]) -> KubeObject:
        """Put back what a Secret of ours lacks. Raises Waiting: it is somebody's own, and left alone."""
        name, known = server.model.names.encryption, server.memory.keys
        if not is_of_server(found, server.model):
            raise Waiting(
                Reason.SECRET_KEY_MISSING,
                f"Secret {name!r}, with which MLflow encrypts what it stores, lacks {' and '.join(missing)}: restore it from a "
                "backup, or, if nothing is encrypted with it, delete it to have another one made.",
                retry_after=UNWATCHED_RETRY_SECONDS,
            )
        keys = {**new_keys(new_key), **keys_in(found), **{key: known[key] for key in missing if key in known}}
        is_lost = not set(missing) <= set(known)
        return await self._patch(found, completed_secret(keys, lost_at=server.now if is_lost else None))

    async def _patch(self, found: KubeObject, wanted: KubeObject) -> KubeObject:
        """Change exactly the Secret that was found. Raises ApiError."""
        metadata = found["metadata"]
        annotations = (metadata.get("annotations") or {}) | wanted["annotations"]
        operations: list[JsonPatchOperation] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/metadata/annotations", "value": annotations},
        ]
        if "labels" in wanted:
            operations.append({"op": "add", "path": "/metadata/labels", "value": wanted["labels"]})
        if "data" in wanted:
            operations.append({"op": "add", "path": "/data", "value": wanted["data"]})
        patched = await self._kube.json_patch(SECRET, namespace_of(found), name_of(found), operations)
        self._cache.upsert(patched)
        return patched

    def _remark(self, server: ServerModel, secret: KubeObject) -> ConditionResult | None:
        """What is lost with keys that nobody knows any more; a pod that starts afterwards looks itself what it cannot read."""
        at = lost_at(secret)
        if at is None or self._has_pod_since(server, at):
            return None
        name = server.names.encryption
        return ConditionResult(
            TYPE,
            Verdict.OK,
            Reason.ENCRYPTION_KEY_LOST,
            f"Secret {name}, with which MLflow encrypts what it stores, was lost at {at:%Y-%m-%dT%H:%M:%SZ} and has other keys "
            f"since. Pods that started before go on with the earlier ones, those that start from now on cannot read what was "
            "encrypted until then: restore the Secret from a backup; or delete the API keys of MLflow's AI gateway and "
            "the webhooks in MLflow, restart the pods, and enter them again.",
        )

    def _has_pod_since(self, server: ServerModel, at: datetime) -> bool:
        pods = server_pods(self._cache.children(server.namespace, server.name, POD))
        return any(datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) > at for pod in pods)
