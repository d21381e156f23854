"""What stands for the pods of all servers where no pod runs: an HTTP proxy on loopback that answers as MLflow does.

The operator on this machine asks servers through it (TRACKING_OPERATOR_SERVICE_PROXY). A test says how one of them
answers, and reads what was asked.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Asked:
    """One request, as it arrived."""

    method: str
    service: str
    """``name.namespace.svc``."""
    path: str
    host: str
    """The Host header."""
    authorization: str


@dataclass(frozen=True)
class Said:
    """How a server answers."""

    status: int = 200
    body: object = field(default_factory=dict)


Respond = Callable[[Asked, bytes], Said]


class ServiceProxy:
    """All servers of the cluster, each with the answer that a test gave it; others answer 200."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, Said] = {}
        self._acts: dict[str, Respond] = {}
        self.url = ""

    def say(self, service: str, status: int, body: object = None) -> None:
        """From now on the server answers everything like this."""
        self._answers[service] = Said(status, body or {})

    def act(self, service: str, respond: Respond) -> None:
        """From now on the server answers as a function of the request says."""
        self._acts[service] = respond

    def forget(self, service: str) -> None:
        """From now on the server answers 200 again."""
        self._answers.pop(service, None)
        self._acts.pop(service, None)

    def answer(self, asked: Asked, body: bytes) -> Said:
        """What the server says to one request."""
        self.asked.append(asked)
        if respond := self._acts.get(asked.service):
            return respond(asked, body)
        return self._answers.get(asked.service, Said())


@contextmanager
def service_proxy() -> Iterator[ServiceProxy]:
    """Run one for the time of the block."""
    proxy = ServiceProxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            url = urlsplit(self.path)
            asked = Asked(
                self.command,
                url.hostname or "",
                url.path,
                self.headers.get("Host", ""),
                self.headers.get("Authorization", ""),
            )
            said = proxy.answer(asked, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            content = json.dumps(said.body).encode()
            self.send_response(said.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of the standard library

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
