"""The Secrets and ConfigMaps that a class names: read from the operator's own namespace, and from no other."""

import base64
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.kubernetes_types import LocalObjectReference
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import CONFIG_MAP, SECRET, Kind, KubeObject

CA_KEY: Final = "ca.crt"


class ClassSecrets:
    """Reads what classes name: from the cache what is watched, anything else once, and again when told to."""

    def __init__(self, kube: KubeClient, cache: ObjectCache, own_namespace: str) -> None:
        self.namespace = own_namespace
        self._kube = kube
        self._cache = cache
        self._read: dict[tuple[Kind, str], KubeObject] = {}

    async def secret(
        self, reference: LocalObjectReference, field: str, *keys: str, fresh: bool
    ) -> dict[str, str]:
        """The decoded values of ``keys`` in a Secret that ``field`` of the class names.

        Raises:
            Failure: it cannot be read, or one of the keys holds nothing.

        """
        secret = await self._object(SECRET, reference.name, field, fresh=fresh)
        data = {
            key: base64.b64decode(value).decode(errors="replace").strip()
            for key, value in (secret.get("data") or {}).items()
        }
        if missing := [key for key in keys if not data.get(key)]:
            raise self._lacks(f"Secret {reference.name!r}", field, " and ".join(missing))
        return {key: data[key] for key in keys}

    async def ca_certificates(
        self, reference: LocalObjectReference | None, field: str, *, fresh: bool
    ) -> str | None:
        """The CA certificates (PEM) in a ConfigMap that ``field`` of the class names; None if it names none.

        Raises:
            Failure: it cannot be read, or holds nothing.

        """
        if reference is None:
            return None
        config_map = await self._object(CONFIG_MAP, reference.name, field, fresh=fresh)
        certificates: str = (config_map.get("data") or {}).get(CA_KEY, "")
        if not certificates.strip():
            raise self._lacks(f"ConfigMap {reference.name!r}", field, CA_KEY)
        return certificates

    async def _object(self, kind: Kind, name: str, field: str, *, fresh: bool) -> KubeObject:
        """An object that is watched comes from the cache; anything else is read once, and again when ``fresh``."""
        if watched := self._cache.whole(kind, self.namespace, name):
            return watched
        if not fresh and (read := self._read.get((kind, name))):
            return read
        try:
            found = await self._kube.get(kind, self.namespace, name)
        except ApiError as error:
            raise failure_from(error, f"read {kind} {self.namespace}/{name}") from error
        if found is None:
            raise Waiting(
                Reason.SECRET_NOT_FOUND,
                f"There is no {kind} {name!r} in the operator's namespace {self.namespace!r}, which {field} of the "
                "class names: create it, or name another.",
                retry_after=UNWATCHED_RETRY_SECONDS,
            )
        self._read[(kind, name)] = found
        return found

    def _lacks(self, what: str, field: str, keys: str) -> Waiting:
        return Waiting(
            Reason.SECRET_KEY_MISSING,
            f"{what} in the operator's namespace {self.namespace!r}, which {field} of the class names, has nothing "
            f"under {keys}: add it.",
            retry_after=UNWATCHED_RETRY_SECONDS,
        )
