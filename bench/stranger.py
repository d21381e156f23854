"""Somebody who changes the operator's objects by hand: writes under a field manager of their own."""

from collections.abc import Sequence
from typing import Final

import aiohttp

from tracking_operator.kube.client import JSON_PATCH, KubeClient
from tracking_operator.kube.json_patch import JsonPatchOperation
from tracking_operator.kube.objects import KubeObject, kind_of, name_of, namespace_of

FIELD_MANAGER: Final = "kubectl-edit"


class Stranger:
    """Sends JSON patches as ``kubectl edit`` would."""

    def __init__(self, kube: KubeClient, session: aiohttp.ClientSession) -> None:
        self._server = str(kube.configuration.host)
        self._session = session

    async def change(self, obj: KubeObject, operations: Sequence[JsonPatchOperation]) -> None:
        """Change an object. Raises aiohttp.ClientResponseError where the API server refuses."""
        path = kind_of(obj).path(namespace_of(obj), name_of(obj))
        async with self._session.patch(
            self._server + path,
            params={"fieldManager": FIELD_MANAGER},
            json=list(operations),
            headers={"Content-Type": JSON_PATCH},
        ) as response:
            response.raise_for_status()
            await response.read()
