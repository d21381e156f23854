"""A small synchronous client of the Kubernetes API for tests: plain dicts in, plain dicts out.

kubectl takes a tenth of a second of CPU for every call; tests that poll cannot afford that.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

import urllib3
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config

from tests.waiting import patient
from tracking_operator.kube.objects import EVENT, POD, Kind, KubeObject, KubeObjects, kind_of

APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"
SOMEBODY = "somebody"
"""The field manager under which tests write: neither the operator nor kubectl."""


class Refused(Exception):
    """The API server answered with an error; the text is its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class KubeApi:
    """The API server, as the user of a kubeconfig, or as a ``user`` of a ``group`` whom that one impersonates."""

    def __init__(self, kubeconfig: Path, *, user: str = "", group: str = "system:authenticated") -> None:
        configuration = Configuration()
        load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(kubeconfig), client_configuration=configuration
        )
        self._server = str(configuration.host)
        self._headers = {"User-Agent": "tests"}
        if user:
            self._headers |= {"Impersonate-User": user, "Impersonate-Group": group}
        self._pool = urllib3.PoolManager(
            ca_certs=configuration.ssl_ca_cert,
            cert_file=configuration.cert_file,
            key_file=configuration.key_file,
            timeout=patient(30.0),
        )

    def find(self, kind: Kind, namespace: str | None, name: str) -> KubeObject | None:
        """Return the object, or None if there is none."""
        try:
            return self._call("GET", kind.path(namespace, name))
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise

    def get(self, kind: Kind, namespace: str | None, name: str) -> KubeObject:
        """Return an object that has to be there."""
        return self._call("GET", kind.path(namespace, name))

    def list(self, kind: Kind, namespace: str | None = None, selector: str = "") -> KubeObjects:
        """Return the objects of a kind, by label selector."""
        query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
        found = self._call("GET", kind.path(namespace) + query)
        named = {"apiVersion": kind.api_version, "kind": kind.kind}
        return [named | item for item in found["items"]]

    def create(self, obj: KubeObject) -> KubeObject:
        """Create the object. Raises Refused."""
        metadata = obj["metadata"]
        path = kind_of(obj).path(metadata.get("namespace")) + f"?fieldManager={SOMEBODY}"
        return self._call("POST", path, obj, JSON)

    def apply(self, obj: KubeObject, *, manager: str = SOMEBODY) -> KubeObject:
        """Server-side apply the object, as somebody who insists. Raises Refused."""
        metadata = obj["metadata"]
        path = kind_of(obj).path(metadata.get("namespace"), metadata["name"])
        query = f"?fieldManager={manager}&force=true&fieldValidation=Strict"
        return self._call("PATCH", path + query, obj, APPLY)

    def patch(self, kind: Kind, namespace: str | None, name: str, change: KubeObject) -> KubeObject:
        """Merge a change into the object. Raises Refused."""
        path = kind.path(namespace, name) + f"?fieldManager={SOMEBODY}"
        return self._call("PATCH", path, change, MERGE_PATCH)

    def patch_status(self, kind: Kind, namespace: str | None, name: str, status: KubeObject) -> KubeObject:
        """Merge a change into the object's status, as the controller of its kind does. Raises Refused."""
        path = kind.path(namespace, name, "status") + f"?fieldManager={SOMEBODY}"
        return self._call("PATCH", path, {"status": status}, MERGE_PATCH)

    def json_patch(
        self, kind: Kind, namespace: str | None, name: str, operations: Sequence[KubeObject]
    ) -> KubeObject:
        """Change the object by JSON patch operations. Raises Refused."""
        path = kind.path(namespace, name) + f"?fieldManager={SOMEBODY}"
        return self._call("PATCH", path, list(operations), JSON_PATCH)

    def delete(self, kind: Kind, namespace: str | None, name: str, *, policy: str = "Background") -> None:
        """Delete the object, if it is there."""
        try:
            self._call("DELETE", kind.path(namespace, name), {"propagationPolicy": policy}, JSON)
        except Refused as refusal:
            if refusal.status != 404:
                raise

    def evict(self, namespace: str, pod: str) -> None:
        """Ask for a pod to end, as a drain does. Raises Refused, with the status 429 where a budget keeps it."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        self._call("POST", POD.path(namespace, pod, "eviction"), eviction)

    def events(self, regarding: KubeObject) -> KubeObjects:
        """Return the Events about an object, the oldest first."""
        metadata = regarding["metadata"]
        query = urlencode({"fieldSelector": f"involvedObject.uid={metadata['uid']}"})
        found = self._call("GET", f"{EVENT.path(metadata.get('namespace') or 'default')}?{query}")
        return sorted(found["items"], key=lambda event: event["metadata"]["creationTimestamp"])

    def pod_log(self, namespace: str, pod: str, container: str = "", *, previous: bool = False) -> str:
        """Return what a container has printed."""
        query = {"container": container} if container else {}
        query |= {"previous": "true"} if previous else {}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log?{urlencode(query)}"
        return self._answer("GET", path).decode(errors="replace")

    def _call(self, method: str, path: str, body: object = None, content_type: str = JSON) -> KubeObject:
        return dict(json.loads(self._answer(method, path, body, content_type)))

    def _answer(self, method: str, path: str, body: object = None, content_type: str = JSON) -> bytes:
        answer = self._pool.request(
            method,
            self._server + path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type, **self._headers},
        )
        if answer.status >= 400:
            raise Refused(answer.status, _message(answer.data))
        return answer.data


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace")
