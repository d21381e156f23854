"""An API server with many large objects in it, for a process that lists and watches them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from tracking_operator.api.labels_and_annotations import SERVER_LABEL, WATCH_LABEL
from tracking_operator.runtime.watched_kinds import WATCHED


def discovery(path: str) -> dict[str, object] | None:
    """What the API server says at this path about the kinds that it has."""
    kinds = [watched.kind for watched in WATCHED]
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        versions = {kind.group: {"version": kind.version} for kind in kinds if kind.group}
        groups = [
            {"name": group, "versions": [one], "preferredVersion": one} for group, one in versions.items()
        ]
        return {"groups": groups}
    resources = [
        {
            "name": kind.plural,
            "kind": kind.kind,
            "namespaced": kind.namespaced,
            "verbs": ["list", "watch"],
            "singularName": kind.kind.lower(),
        }
        for kind in kinds
        if path.endswith(f"/{kind.api_version}")
    ]
    return {"resources": resources} if resources else None


class Flood:
    """Answers lists with ``at_start`` objects of each kind in ``kinds``, and watches with ``later`` more."""

    def __init__(self, *kinds: str, at_start: int = 0, later: int = 0, size: int = 900_000) -> None:
        self._kinds = kinds
        self._at_start = at_start
        self._later = later
        self._text = b"x" * (size - 3) + "\u4e00".encode()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a list or a watch."""
        if found := discovery(request.path):
            return web.json_response(found)
        plural = request.path.rpartition("/")[2]
        is_flooded = plural in self._kinds
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):  # whoever asks may give up in the middle
            await self._write(request, response, plural if is_flooded else "")
        return response

    async def _write(self, request: web.Request, response: web.StreamResponse, plural: str) -> None:
        if request.query.get("watch") == "true":
            for number in range(self._later if plural else 0):
                obj = self._object(plural, self._at_start + number)
                await response.write(b'{"type": "ADDED", "object": ' + obj + b"}\n")
            await asyncio.Event().wait()
        first = int(request.query.get("continue") or 0)
        last = self._at_start if plural else 0
        end = min(last, first + int(request.query.get("limit") or last))
        metadata = {"resourceVersion": "1000", "continue": str(end) if end < last else ""}
        await response.write(f'{{"metadata": {json.dumps(metadata)}, "items": ['.encode())
        for number in range(first, end):
            comma = b"," if number > first else b""
            await response.write(comma + self._object(plural, number))
        await response.write(b"]}")

    def _object(self, plural: str, number: int) -> bytes:
        metadata = {
            "name": f"flood-{number}",
            "namespace": "team-evil",
            "uid": f"{plural}-{number}",
            "resourceVersion": str(number + 1),
            "labels": {SERVER_LABEL: "mlflow", WATCH_LABEL: "true"},
        }
        kind = {"configmaps": "ConfigMap", "secrets": "Secret"}[plural]
        obj = {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"a": "TEXT"}}
        before, after = json.dumps(obj).encode().split(b"TEXT")
        return before + self._text + after

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve at a port of loopback; the URL is given."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
