"""Has Kubeflow use a client: what spec.integrations.kubeflow asks for is made, and what it does not ask for is taken away.

Of the ConfigMap that Kubeflow Pipelines reads, one key is the operator's; everything else in it, and what somebody else has written under
that key, stays.
"""

from http import HTTPStatus
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import FIELD_MANAGER
from tracking_operator.api.operator_admission import LAUNCHER, LAUNCHER_KEY
from tracking_operator.api.tracking_server_client import TrackingServerClient
from tracking_operator.controllers.client.ownership import client_owner_check, conflict_of, leaving_of
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.kinds import POD_DEFAULT, TRACKING_SERVER_CLIENT
from tracking_operator.controllers.server.children.ownership import controlled_by
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Invalid, Waiting
from tracking_operator.kube.apply import apply_all
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import CONFIG_MAP, SECRET, Kind, KubeObject, describe, uid_of
from tracking_operator.resources.kubeflow import (
    CREDENTIALS,
    build_launcher,
    build_pipelines_secret,
    build_pod_default,
    launcher_settings,
)
from tracking_operator.resources.tracking_client import ClientPassword, name_of_objects

TYPE: Final = ConditionType.INTEGRATED


class Kubeflow:
    """Tells Kubeflow of a client."""

    def __init__(self, kube: KubeClient, cache: ObjectCache) -> None:
        self._kube = kube
        self._cache = cache

    async def ensure(self, client: TrackingServerClient, password: ClientPassword | None) -> None:
        """Make what is asked for, and remove the rest. Raises Failure."""
        wanted = client.spec.integrations.kubeflow
        if wanted.pod_default:
            await self._write(client, build_pod_default(client, has_login=password is not None))
        else:
            await self._remove(client, POD_DEFAULT, name_of_objects(client))
        if not wanted.pipelines:
            await self._end_pipelines(client)
            return
        if password is not None:
            await self._write(client, build_pipelines_secret(client, password))
        await self._set_key(client, launcher_settings(has_login=password is not None))

    async def withdraw(self, client: TrackingServerClient) -> None:
        """Remove all of it. Raises ApiError."""
        await self._remove(client, POD_DEFAULT, name_of_objects(client))
        await self._end_pipelines(client)

    async def tidy(self, namespace: str) -> None:
        """Remove the key once no client of the namespace wants it: one that is gone took its Secret with it. Raises ApiError."""
        for live in self._cache.list(TRACKING_SERVER_CLIENT, namespace):
            integrations = (live.get("spec") or {}).get("integrations") or {}
            if (integrations.get("kubeflow") or {}).get("pipelines"):
                return
        await self._drop_key(namespace)

    async def _end_pipelines(self, client: TrackingServerClient) -> None:
        """Remove the key and then the Secret, as long as that is there; one that another client of the namespace has stays."""
        if await self._own(client, SECRET, CREDENTIALS):
            await self._drop_key(client.metadata.namespace)
            await self._remove(client, SECRET, CREDENTIALS)

    async def _write(self, client: TrackingServerClient, obj: KubeObject) -> None:
        applied = await apply_all(self._kube, self._cache, [obj], owner=client_owner_check(client))
        for live in applied.conflicts:
            raise conflict_of(live)
        for live in applied.leaving:
            raise leaving_of(live)
        for failed, error in applied.failures:
            if error.status == HTTPStatus.NOT_FOUND and failed["kind"] == POD_DEFAULT.kind:
                raise _no_kubeflow()
            raise failure_from(error, f"write {describe(failed)}") from error

    async def _own(self, client: TrackingServerClient, kind: Kind, name: str) -> KubeObject | None:
        """The client's own object; None if there is none, or only somebody else's."""
        live = await self._kube.get(kind, client.metadata.namespace, name)
        return live if live is not None and controlled_by(live, client.metadata.uid) else None

    async def _remove(self, client: TrackingServerClient, kind: Kind, name: str) -> None:
        """Delete the client's own object, and nobody else's."""
        if live := await self._own(client, kind, name):
            await self._kube.delete(kind, client.metadata.namespace, name, uid=uid_of(live))

    async def _set_key(self, client: TrackingServerClient, settings: str) -> None:
        """Have the ConfigMap say this under the one key. Raises Failure: somebody else has written something there."""
        namespace = client.metadata.namespace
        try:
            live = await self._kube.get(CONFIG_MAP, namespace, LAUNCHER)
            present = ((live or {}).get("data") or {}).get(LAUNCHER_KEY)
            if present == settings:
                return
            if live is not None and present is not None and not has_own_key(live):
                raise _foreign_key(live)
            await self._kube.apply(build_launcher(namespace, settings))
        except ApiError as error:
            raise failure_from(error, f"write ConfigMap {LAUNCHER}") from error

    async def _drop_key(self, namespace: str) -> None:
        live = await self._kube.get(CONFIG_MAP, namespace, LAUNCHER)
        if live is not None and has_own_key(live):
            await self._kube.apply(build_launcher(namespace, None))


def has_own_key(config_map: KubeObject) -> bool:
    """Whether it was the operator that wrote the key, as the API server has noted. Pure."""
    return any(
        entry.get("manager") == FIELD_MANAGER
        and f"f:{LAUNCHER_KEY}" in ((entry.get("fieldsV1") or {}).get("f:data") or {})
        for entry in config_map["metadata"].get("managedFields") or ()
    )


def integrated_result(client: TrackingServerClient) -> ConditionResult | None:
    """What the condition says once Kubeflow is told; None where nothing is asked for."""
    wanted = client.spec.integrations.kubeflow
    told = [
        f"PodDefault {name_of_objects(client)}" if wanted.pod_default else "",
        f"Secret {CREDENTIALS} and the key {LAUNCHER_KEY} of ConfigMap {LAUNCHER}"
        if wanted.pipelines
        else "",
    ]
    named = " and ".join(one for one in told if one)
    return (
        ConditionResult(TYPE, Verdict.OK, Reason.AS_EXPECTED, f"Kubeflow is told by {named}.")
        if named
        else None
    )


def _no_kubeflow() -> Waiting:
    return Waiting(
        Reason.KUBEFLOW_MISSING,
        "The cluster has no PodDefaults (kubeflow.org/v1alpha1): install Kubeflow's PodDefault webhook, or remove "
        "spec.integrations.kubeflow.podDefault.",
        retry_after=4 * UNWATCHED_RETRY_SECONDS,
    )


def _foreign_key(live: KubeObject) -> Invalid:
    return Invalid(
        Reason.CONFLICT,
        f"{describe(live)} has a key {LAUNCHER_KEY} that somebody else has written, so it is left alone: remove the key, or "
        "spec.integrations.kubeflow.pipelines.",
    )
