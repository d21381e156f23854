"""An API server in memory that commands reach by a kubeconfig, over HTTP as any other."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tracking_operator.kube.objects import KubeObject, kind_of, name_of, namespace_of

UID = "0b5f5f2e-0000-4000-8000-000000000001"


def write_kubeconfig(file: Path, address: str) -> Path:
    """Two contexts of a cluster, the current one in a namespace."""
    contexts = {"current": {"namespace": "team-a"}, "other": {}}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u", **more}}
            for name, more in contexts.items()
        ],
        "current-context": "current",
    }
    file.write_text(yaml.safe_dump(content))
    return file


@dataclass
class FakeCluster:
    """What is stored, by path, and which requests are refused with which words."""

    kubeconfig: Path
    stored: dict[str, KubeObject] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    """By pod and container: ``pod/container``."""
    refusals: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """By method and the end of the path."""
    queries: list[dict[str, list[str]]] = field(default_factory=list)
    statuses: list[KubeObject] = field(default_factory=list)
    """What becomes of an object that was created, look by look; the last one stays."""
    created: list[str] = field(default_factory=list)
    """The paths of what was created, dry runs left out."""

    def put(self, *objects: KubeObject) -> None:
        for obj in objects:
            self.stored[kind_of(obj).path(namespace_of(obj), name_of(obj))] = obj

    def get(self, obj: KubeObject) -> KubeObject:
        """What is stored in the place of an object now."""
        return self.stored[kind_of(obj).path(namespace_of(obj), name_of(obj))]

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, str | KubeObject]:
        url = urlsplit(target)
        query = parse_qs(url.query)
        self.queries.append(query)
        for (refused, end), (status, message) in self.refusals.items():
            if method == refused and url.path.endswith(end):
                return status, {"kind": "Status", "reason": HTTPStatus(status).phrase, "message": message}
        write = {"POST": self._made, "PATCH": self._patched}.get(method)
        if write and (method == "POST" or url.path in self.stored):
            return 200, write(url.path, json.loads(body), is_kept="dryRun" not in query)
        if url.path.endswith("/log"):
            pod = url.path.split("/")[-2]
            return 200, self.logs[f"{pod}/{query['container'][0]}"]
        if url.path in self.stored:
            return 200, self._seen(url.path)
        items = [one for place, one in self.stored.items() if place.rpartition("/")[0] == url.path]
        if items or (method == "GET" and not url.path.rpartition("/")[0].endswith("s")):
            chosen = [one for one in items if _is_selected(one, query)]
            return 200, {"metadata": {"resourceVersion": "1"}, "items": chosen}
        return 404, {"kind": "Status", "reason": "NotFound", "message": "not found"}

    def _made(self, collection: str, obj: KubeObject, *, is_kept: bool) -> KubeObject:
        path = f"{collection}/{name_of(obj)}"
        if is_kept:
            self.stored[path] = obj
            self.created.append(path)
        return obj

    def _seen(self, path: str) -> KubeObject:
        if path in self.created and self.statuses:
            self.stored[path] = self.stored[path] | {"status": self.statuses.pop(0)}
        return self.stored[path]

    def _patched(self, path: str, changes: KubeObject, *, is_kept: bool) -> KubeObject:
        patched = _merged(self.stored[path], changes)
        if is_kept:
            self.stored[path] = patched
        return patched


@contextmanager
def fake_cluster(folder: Path) -> Iterator[FakeCluster]:
    """Serve a cluster on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = cluster.answer(self.command, self.path, body)
            content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_PATCH(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cluster = FakeCluster(write_kubeconfig(folder / "kubeconfig", f"http://127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield cluster
    server.shutdown()
    thread.join()
    server.server_close()


def tracking_server(
    spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: object
) -> KubeObject:
    """A TrackingServer `team-a/tracking` as the API server holds it."""
    known = {"name": "tracking", "namespace": "team-a", "uid": UID, "generation": 1}
    return {
        "apiVersion": "tracking-operator.dev/v1alpha1",
        "kind": "TrackingServer",
        "metadata": known | {"creationTimestamp": "2026-01-01T10:00:00Z"} | metadata,
        "spec": spec or {},
        "status": status or {},
    }


def condition(type_: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T10:00:00Z",
    }


def event(message: str, *, name: str = "event", **more: object) -> KubeObject:
    """An Event about that server."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "team-a"},
        "involvedObject": {"kind": "TrackingServer", "name": "tracking", "uid": UID},
        "type": "Warning",
        "reason": "StoreUnreachable",
        "message": message,
        "lastTimestamp": "2026-01-01T10:00:00Z",
        **more,
    }


def _is_selected(obj: KubeObject, query: dict[str, list[str]]) -> bool:
    """Whether an object has the labels and fields that are asked for."""
    labels = obj["metadata"].get("labels", {})
    by_label = (_holds(one, labels.get) for one in _words(query, "labelSelector"))
    by_field = (_holds(one, lambda path: _field(obj, path)) for one in _words(query, "fieldSelector"))
    return all(by_label) and all(by_field)


def _holds(requirement: str, value_of: Callable[[str], object]) -> bool:
    """Whether `key=value` or `key!=value` is so."""
    key, _, value = requirement.partition("=")
    return (value_of(key.removesuffix("!")) == value) is not key.endswith("!")


def _words(query: dict[str, list[str]], name: str) -> list[str]:
    return [word for word in query.get(name, [""])[0].split(",") if word]


def _field(obj: KubeObject, path: str) -> object:
    found: object = obj
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _merged(live: object, changes: KubeObject) -> KubeObject:
    """A JSON merge patch (RFC 7386)."""
    merged: KubeObject = dict(live) if isinstance(live, dict) else {}
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value) if isinstance(value, dict) else value
    return merged
