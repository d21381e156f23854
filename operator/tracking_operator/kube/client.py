"""A small asynchronous client of the Kubernetes API on plain dicts.

The ``kubernetes`` package supplies the credentials; its models are left out on purpose: they are strict,
so an answer with an unknown field raises after the write has happened.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
from kubernetes.aio.client import Configuration

from tracking_operator.api.labels_and_annotations import FIELD_MANAGER
from tracking_operator.kube.connection import (
    CONNECT_TIMEOUT_SECONDS,
    REQUEST_TIMEOUT_SECONDS,
    load_configuration,
    open_session,
)
from tracking_operator.kube.errors import NO_ANSWER, ApiError
from tracking_operator.kube.json_patch import JsonPatchOperation
from tracking_operator.kube.objects import POD, Kind, KubeObject, KubeObjects, kind_of, name_of, namespace_of
from tracking_operator.shares import Shares

APPLY_PATCH: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON: Final = "application/json"
PORT_FORWARD_PROTOCOL: Final = "v4.channel.k8s.io"
MOST_OF_A_LOG: Final = 2**20
READ_BYTES: Final = 16_384
"""Of an answer with a limit, at a time."""


@dataclass(frozen=True)
class Call:
    """One finished request, for metrics: ``status`` is 0 when no answer came."""

    verb: str
    kind: str
    status: int
    host: str = ""
    """The API server's host and port."""

    @property
    def method(self) -> str:
        """The method of HTTP that the verb stands for."""
        return _HTTP_METHODS[self.verb]


Observer = Callable[[Call], None]


def ignore_calls(call: Call) -> None:
    """Observe nothing."""


class KubeClient:
    """Reads and writes Kubernetes objects. Every method raises ApiError when the server refuses or is away.

    Use it as an asynchronous context manager, or call ``close``.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        observer: Observer = ignore_calls,
        impersonated: str = "",
        field_manager: str = FIELD_MANAGER,
        shares: Shares | None = None,
    ) -> None:
        """With ``shares`` no more requests are under way than these allow, and each namespace has its share."""
        self.configuration = configuration
        self._shares = shares
        self._server = str(configuration.host)
        self._host = urlsplit(self._server).netloc
        self._session = open_session(configuration, impersonated=impersonated)
        self._observe = observer
        self._field_manager = field_manager

    @classmethod
    async def connect(
        cls,
        kubeconfig: Path | None = None,
        *,
        context: str | None = None,
        observer: Observer = ignore_calls,
        field_manager: str = FIELD_MANAGER,
        shares: Shares | None = None,
    ) -> Self:
        """Connect as the pod's service account or as the kubeconfig says. Raises NoClusterError."""
        return cls(
            await load_configuration(kubeconfig, context),
            observer=observer,
            field_manager=field_manager,
            shares=shares,
        )

    def alone(self) -> Self:
        """Return a client with connections of its own, which waits for no other request."""
        return type(self)(self.configuration, observer=self._observe)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> KubeObject | None:
        """Return the object, or None when there is none of that name."""
        try:
            return await self._request("get", kind, kind.path(namespace, name))
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str | None = None,
        *,
        field_selector: str | None = None,
        limit: int | None = None,
        most_bytes: int | None = None,
    ) -> KubeObjects:
        """Return the objects of one namespace, or of all, with ``apiVersion`` and ``kind`` filled in.

        Raises:
            ApiError: also where the answer is longer than ``most_bytes``, of which no more is read.

        """
        found, _ = await self.list_with_version(
            kind,
            namespace,
            label_selector,
            field_selector=field_selector,
            limit=limit,
            most_bytes=most_bytes,
        )
        return found

    async def list_with_version(
        self,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str | None = None,
        *,
        field_selector: str | None = None,
        limit: int | None = None,
        most_bytes: int | None = None,
    ) -> tuple[KubeObjects, int]:
        """Return the objects and the resource version at which the list was true."""
        query = {"labelSelector": label_selector} if label_selector else {}
        if field_selector:
            query["fieldSelector"] = field_selector
        if limit:
            query["limit"] = str(limit)
        answer = await self._request("list", kind, kind.path(namespace), query=query, most_bytes=most_bytes)
        types = {"apiVersion": kind.api_version, "kind": kind.kind}
        return [types | item for item in answer["items"]], int(answer["metadata"]["resourceVersion"])

    async def apply(
        self, obj: KubeObject, *, subresource: str | None = None, dry_run: bool = False
    ) -> KubeObject:
        """Server-side apply the object under our field manager and return what is stored now.

        A dry run is admitted, changed or refused like any other request, and nothing is stored.
        """
        kind = kind_of(obj)
        query = {"fieldManager": self._field_manager, "force": "true"} | _dry(run=dry_run)
        path = kind.path(namespace_of(obj), name_of(obj), subresource)
        return await self._request("apply", kind, path, query=query, body=obj, content_type=APPLY_PATCH)

    async def json_patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        operations: Sequence[JsonPatchOperation],
        *,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> KubeObject:
        """Apply RFC 6902 operations and return what is stored now; with a dry run, what would be."""
        path = kind.path(namespace, name, subresource)
        query = {"fieldManager": self._field_manager} | _dry(run=dry_run)
        return await self._request(
            "patch", kind, path, query=query, body=list(operations), content_type=JSON_PATCH
        )

    async def merge_patch(
        self, kind: Kind, namespace: str | None, name: str, changes: KubeObject, *, dry_run: bool = False
    ) -> KubeObject:
        """Merge fields into the object (RFC 7386) and return what is stored now; with a dry run, what would be."""
        query = {"fieldManager": self._field_manager} | _dry(run=dry_run)
        path = kind.path(namespace, name)
        return await self._request("patch", kind, path, query=query, body=changes, content_type=MERGE_PATCH)

    async def create(self, obj: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create the object; status 409 when one of that name exists. Leave the name out for ``generateName``.

        A dry run is admitted or refused like any other request, and nothing is stored.
        """
        kind = kind_of(obj)
        query = {"fieldManager": self._field_manager} | _dry(run=dry_run)
        return await self._request("create", kind, kind.path(namespace_of(obj)), query=query, body=obj)

    async def replace(self, obj: KubeObject) -> KubeObject:
        """Replace the object; with a ``resourceVersion`` in it, status 409 when it changed since."""
        kind = kind_of(obj)
        path = kind.path(namespace_of(obj), name_of(obj))
        return await self._request(
            "update", kind, path, query={"fieldManager": self._field_manager}, body=obj
        )

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None) -> bool:
        """Delete the object in the background; False when it was gone. With ``uid`` only that very one (409)."""
        options: KubeObject = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._request("delete", kind, kind.path(namespace, name), body=options)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    async def can_i(self, verb: str, kind: Kind, namespace: str | None = None) -> bool:
        """Ask whether we may do this; without a namespace: in all of them."""
        attributes = {"verb": verb, "group": kind.group, "resource": kind.plural, "namespace": namespace}
        review: KubeObject = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        answer = await self._request("create", _ACCESS_REVIEW, _ACCESS_REVIEW.path(None), body=review)
        return bool(answer["status"]["allowed"])

    async def pod_log(self, namespace: str, pod: str) -> str:
        """Return what a pod's only container has printed, up to ``MOST_OF_A_LOG`` bytes of it."""
        try:
            async with self._session.get(
                self._server + POD.path(namespace, pod, "log"), params={"limitBytes": str(MOST_OF_A_LOG)}
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _no_answer(error) from error
        if not response.ok:
            raise _error_from(response.status, content, None)
        return content.decode(errors="replace")

    async def stream_pod_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        tail_lines: int | None = None,
        previous: bool = False,
        follow: bool = False,
    ) -> AsyncIterator[bytes]:
        """Yield what a container has printed, piece by piece; with ``follow`` also what it prints until it ends.

        ``tail_lines`` is how many lines of it, from the end; ``previous`` means the container before this one.
        """
        query = {"container": container}
        if tail_lines is not None:
            query["tailLines"] = str(tail_lines)
        query |= {name: "true" for name, is_set in (("previous", previous), ("follow", follow)) if is_set}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS)
        try:
            async with self._session.get(
                self._server + POD.path(namespace, pod, "log"), params=query, timeout=timeout
            ) as response:
                if not response.ok:
                    raise _error_from(response.status, await response.read(), None)
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _no_answer(error) from error

    @asynccontextmanager
    async def connect_to_pod(
        self, namespace: str, pod: str, port: int
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket to a port of a pod; ``port_forward.carry`` knows what is said on it."""
        try:
            socket = await self._session.ws_connect(
                self._server + POD.path(namespace, pod, "portforward"),
                params={"ports": str(port)},
                protocols=(PORT_FORWARD_PROTOCOL,),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(error.status, "", f"no connection to pod {namespace}/{pod}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _no_answer(error) from error
        async with socket:
            yield socket

    async def _request(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: KubeObject | Sequence[JsonPatchOperation] | None = None,
        content_type: str = JSON,
        most_bytes: int | None = None,
    ) -> KubeObject:
        async with self._turn(namespace_in(path)):
            return await self._send(
                verb, kind, path, query=query, body=body, content_type=content_type, most_bytes=most_bytes
            )

    @asynccontextmanager
    async def _turn(self, namespace: str) -> AsyncIterator[None]:
        """Wait for a place among the requests. Raises ApiError: there was none for long."""
        if self._shares is None:
            yield
            return
        if not await self._shares.take(namespace, REQUEST_TIMEOUT_SECONDS):
            raise ApiError(NO_ANSWER, "NoAnswer", "earlier requests to the API server have not been answered")
        try:
            yield
        finally:
            self._shares.give_back(namespace)

    async def _send(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: KubeObject | Sequence[JsonPatchOperation] | None,
        content_type: str,
        most_bytes: int | None,
    ) -> KubeObject:
        status = NO_ANSWER
        try:
            async with self._session.request(
                _HTTP_METHODS[verb],
                self._server + path,
                params=query,
                data=None if body is None else json.dumps(body, separators=(",", ":")).encode(),
                headers={"Content-Type": content_type, "Accept": JSON},
            ) as response:
                status = response.status
                content = await _read(response, most_bytes)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _no_answer(error) from error
        finally:
            self._observe(Call(verb, kind.kind, status, self._host))
        if status >= HTTPStatus.BAD_REQUEST:
            raise _error_from(status, content, response.headers.get("Retry-After"))
        answer: KubeObject = json.loads(content)
        return answer


async def _read(response: aiohttp.ClientResponse, most_bytes: int | None) -> bytes:
    """The body of an answer. Raises ApiError: it is longer than ``most_bytes``."""
    if most_bytes is None:
        return await response.read()
    content = bytearray()
    async for chunk in response.content.iter_chunked(READ_BYTES):
        content += chunk
        if len(content) > most_bytes:
            response.close()  # what is still on its way is not waited for
            raise ApiError(
                NO_ANSWER, "TooLong", f"the answer of the API server is longer than {most_bytes} bytes"
            )
    return bytes(content)


_ACCESS_REVIEW: Final = Kind(
    "authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)
_HTTP_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "apply": "PATCH",
    "patch": "PATCH",
    "delete": "DELETE",
}


def namespace_in(path: str) -> str:
    """Return the namespace in the path of a request; empty for what is in none."""
    _, _, rest = path.partition("/namespaces/")
    return rest.partition("/")[0]


def _no_answer(error: Exception) -> ApiError:
    return ApiError(NO_ANSWER, "NoAnswer", f"no answer from the API server: {error!r}")


def _dry(*, run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if run else {}


def _error_from(status: int, content: bytes, retry_after: str | None) -> ApiError:
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):  # a proxy in between answers in its own words
        return ApiError(status, "", content.decode(errors="replace").strip()[:200], retry_after=seconds)
    causes = (answer.get("details") or {}).get("causes") or ()
    return ApiError(
        status,
        answer.get("reason", ""),
        answer.get("message", ""),
        causes=tuple(cause.get("reason", "") for cause in causes),
        retry_after=seconds,
    )
