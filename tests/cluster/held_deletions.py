"""A webhook that holds up deletions until their time has come, as a slow admission controller does."""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.certificates import make_certificates
from tests.kube_api import KubeApi
from tracking_operator.api.labels_and_annotations import GROUP, VERSION
from tracking_operator.kube.objects import Kind, KubeObject, register

SECONDS_TO_HOLD: Final = 25.0
WEBHOOK: Final = register(
    Kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        namespaced=False,
    )
)


class HeldDeletions:
    """Deletions of tracking servers that the API server has begun, and does not end before ``release``."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._released = threading.Event()

    def release(self) -> None:
        """Let all of them go on, and those to come."""
        self._released.set()

    def review(self, request: KubeObject) -> KubeObject:
        """Answer an AdmissionReview: always yes, in the end."""
        self.begun.set()
        self._released.wait(SECONDS_TO_HOLD)
        answer = {"uid": request["request"]["uid"], "allowed": True}
        return {"apiVersion": request["apiVersion"], "kind": request["kind"], "response": answer}


@contextmanager
def held_deletions(api: KubeApi, host: str, namespace: str) -> Iterator[HeldDeletions]:
    """Hold up the deletions of a namespace's tracking servers; ``host`` is this machine, seen from the cluster."""
    held = HeldDeletions()
    with _https_server(host, held.review) as (port, ca):
        api.create(_configuration(namespace, f"https://{host}:{port}/", ca))
        try:
            yield held
        finally:
            held.release()
            api.delete(WEBHOOK, None, namespace)


@contextmanager
def deleting(api: KubeApi, kind: Kind, namespace: str, name: str) -> Iterator[None]:
    """Send a deletion, and have its answer at the end of the block."""
    sent = threading.Thread(target=api.delete, args=(kind, namespace, name), daemon=True)
    sent.start()
    yield
    sent.join(SECONDS_TO_HOLD)
    assert not sent.is_alive(), f"the deletion of {kind} {namespace}/{name} has no answer"


def _configuration(namespace: str, url: str, ca: str) -> KubeObject:
    rule = {
        "apiGroups": [GROUP],
        "apiVersions": [VERSION],
        "operations": ["DELETE"],
        "resources": ["trackingservers"],
    }
    webhook = {
        "name": "held.tests.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 30,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "clientConfig": {"url": url, "caBundle": base64.b64encode(ca.encode()).decode()},
        "rules": [rule],
    }
    return {
        "apiVersion": WEBHOOK.api_version,
        "kind": WEBHOOK.kind,
        "metadata": {"name": namespace},
        "webhooks": [webhook],
    }


@contextmanager
def _https_server(host: str, review: Callable[[KubeObject], KubeObject]) -> Iterator[tuple[int, str]]:
    """Serve reviews; gives the port, and the CA by which the API server knows the server."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps(review(request)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    ca, certificate, key = make_certificates(host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "server.pem"
        file.write_text(certificate + key)
        context.load_cert_chain(file)
    with ThreadingHTTPServer((host, 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port, ca
        finally:
            server.shutdown()
            thread.join()
