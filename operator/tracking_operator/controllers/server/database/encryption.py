"""Sees to it that a server has keys to encrypt with: made once, taken up again, never made anew over others."""

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.step_result import StepResult, stopped_unwatched
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import SECRET
from tracking_operator.passwords import new_key
from tracking_operator.resources.encryption_secret import build_encryption_secret, missing_keys
from tracking_operator.resources.server_model import ServerModel


class Encryption:
    """The Secret ``NAME-encryption`` of each server. It has no owner: what it encrypts may outlive the server."""

    def __init__(self, kube: KubeClient, cache: ObjectCache) -> None:
        self._kube = kube
        self._cache = cache

    async def ensure(self, server: ServerModel) -> StepResult[None]:
        """Make the Secret if there is none; one that is there is used as it is, whoever made it."""
        try:
            await self._ensure(server)
        except Failure as failure:
            return stopped_unwatched(failure, ConditionType.BACKEND_STORE_READY)
        return StepResult(None)

    async def _ensure(self, server: ServerModel) -> None:
        name = server.names.encryption
        place = SECRET, server.namespace, name
        try:
            found = self._cache.whole(*place) or await self._kube.get(*place)
            if found is None:
                made = build_encryption_secret(server, new_key(), new_key())
                # Not applied: that would replace the keys of one that has come meanwhile.
                self._cache.upsert(await self._kube.create(made))
                return
        except ApiError as error:
            raise failure_from(error, f"make Secret {name}") from error
        if missing := missing_keys(found):
            raise Waiting(
                Reason.SECRET_KEY_MISSING,
                f"Secret {name!r}, with which MLflow encrypts what it stores, lacks {' and '.join(missing)}: restore it from a "
                "backup, or, if nothing is encrypted with it, delete it to have another one made.",
                retry_after=UNWATCHED_RETRY_SECONDS,
            )
