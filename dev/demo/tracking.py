"""What a tracking server has, read from its REST API (https://mlflow.org/docs/latest/api_reference/rest-api.html)."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict

from dev.demo.failures import DemoError
from dev.development_cluster import DevelopmentCluster
from dev.stores.manifests import contents_of
from tracking_operator.api.tracking_server import TrackingServer

API = "/api/2.0/mlflow"
SERVICE_PORT = 80
SECONDS = 30
MOST_RUNS = 1000
USER_KEY = "MLFLOW_TRACKING_USERNAME"
PASSWORD_KEY = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105 - a name
COMMIT_TAG = "mlflow.source.git.commit"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Entry(_Answer):
    """A parameter or a tag."""

    key: str
    value: str


class Metric(_Answer):
    """The latest value of a metric."""

    key: str
    value: float


class RunInfo(_Answer):
    """What the server itself knows about a run; times in milliseconds since 1970."""

    run_id: str
    run_name: str
    experiment_id: str
    status: str
    start_time: int


class RunData(_Answer):
    """What a client logged."""

    params: tuple[Entry, ...] = ()
    metrics: tuple[Metric, ...] = ()
    tags: tuple[Entry, ...] = ()


class ModelOutput(_Answer):
    """A model that a run logged."""

    model_id: str


class RunOutputs(_Answer):
    """What came out of a run."""

    model_outputs: tuple[ModelOutput, ...] = ()


class Run(_Answer):
    """One run."""

    info: RunInfo
    data: RunData
    outputs: RunOutputs = RunOutputs()

    @property
    def params(self) -> dict[str, str]:
        """Its parameters by name."""
        return {entry.key: entry.value for entry in self.data.params}

    @property
    def metrics(self) -> dict[str, float]:
        """Its metrics by name."""
        return {metric.key: metric.value for metric in self.data.metrics}

    @property
    def tags(self) -> dict[str, str]:
        """Its tags by name."""
        return {entry.key: entry.value for entry in self.data.tags}


class ModelVersion(_Answer):
    """One version of a registered model."""

    name: str
    version: str
    run_id: str
    status: str


class File(_Answer):
    """An artifact."""

    path: str
    file_size: int = 0


class _Experiment(_Answer):
    experiment_id: str


class _ExperimentAnswer(_Answer):
    experiment: _Experiment


class _RunsAnswer(_Answer):
    runs: tuple[Run, ...] = ()


class _VersionAnswer(_Answer):
    model_version: ModelVersion


class _VersionsAnswer(_Answer):
    model_versions: tuple[ModelVersion, ...] = ()


class _FilesAnswer(_Answer):
    files: tuple[File, ...] = ()


AnswerType = TypeVar("AnswerType", bound=_Answer)


@dataclass(frozen=True)
class TrackingApi:
    """A tracking server on a port of this machine. Every method raises DemoError if the server refuses.

    Attributes:
        prefix: of all its URLs; empty, or like `/team-a`.
        headers: what proves who asks; empty where there is no login.
    """

    port: int
    prefix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def experiment_id(self, name: str) -> str:
        """The id of an experiment."""
        path = f"{API}/experiments/get-by-name"
        return self._get(_ExperimentAnswer, path, experiment_name=name).experiment.experiment_id

    def runs(self, experiment: str) -> list[Run]:
        """The runs of an experiment, newest first, 1000 at most."""
        query = {
            "experiment_ids": [self.experiment_id(experiment)],
            "max_results": MOST_RUNS,
            "order_by": ["attributes.start_time DESC"],
        }
        return list(_RunsAnswer.model_validate(self._post(f"{API}/runs/search", query)).runs)

    def artifacts(self, run: Run) -> list[File]:
        """The files at the top of a run's artifacts."""
        return list(self._get(_FilesAnswer, f"{API}/artifacts/list", run_id=run.info.run_id).files)

    def artifact(self, run: Run, path: str) -> bytes:
        """The content of one of a run's artifacts."""
        query = urlencode({"run_uuid": run.info.run_id, "path": path})
        return self._request("GET", f"/get-artifact?{query}")

    def model_files(self, model_id: str) -> list[File]:
        """The files of a logged model."""
        path = f"{API}/logged-models/{model_id}/artifacts/directories"
        return list(self._get(_FilesAnswer, path).files)

    def model_versions(self, name: str) -> list[ModelVersion]:
        """The versions of a registered model."""
        answer = self._get(_VersionsAnswer, f"{API}/model-versions/search", filter=f"name='{name}'")
        return list(answer.model_versions)

    def version_with_alias(self, name: str, alias: str) -> ModelVersion:
        """The version of a registered model that an alias points to."""
        path = f"{API}/registered-models/alias"
        return self._get(_VersionAnswer, path, name=name, alias=alias).model_version

    def _get(self, answer: type[AnswerType], path: str, **query: str) -> AnswerType:
        return answer.model_validate_json(self._request("GET", f"{path}?{urlencode(query)}"))

    def _post(self, path: str, body: dict[str, Any]) -> object:
        return json.loads(self._request("POST", path, json.dumps(body)))

    def _request(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = HTTPConnection("localhost", self.port, timeout=SECONDS)
        headers = {**self.headers, **({"Content-Type": "application/json"} if body else {})}
        try:
            connection.request(method, f"{self.prefix}{path}", body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            raise DemoError(f"The tracking server did not answer {method} {path}: {error}.") from error
        finally:
            connection.close()
        if response.status >= 400:  # noqa: PLR2004 - HTTP's own number
            text = content.decode(errors="replace")
            raise DemoError(
                f"The tracking server answered {method} {path} with {response.status}: {text[:500]}"
            )
        return content


@contextmanager
def tracking_api(cluster: DevelopmentCluster, server: TrackingServer) -> Iterator[TrackingApi]:
    """Reach a tracking server through `kubectl port-forward`, as the user of its team's jobs."""
    place = ("--namespace", server.metadata.namespace)
    with cluster.port_forward(f"service/{server.metadata.name}", SERVICE_PORT, *place) as port:
        yield TrackingApi(port, prefix_of(server), login_headers(cluster, server))


def prefix_of(server: TrackingServer) -> str:
    """What comes before each of the server's paths: empty, or like `/team-a`."""
    address = server.status.address
    return urlsplit(address.url or "").path.rstrip("/") if address else ""


def login_headers(cluster: DevelopmentCluster, server: TrackingServer) -> dict[str, str]:
    """What the user of the team's jobs sends with each request; empty where there is no login."""
    variables = login_variables(cluster, server)
    if USER_KEY not in variables:
        return {}
    login = f"{variables[USER_KEY]}:{variables[PASSWORD_KEY]}"
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def login_variables(cluster: DevelopmentCluster, server: TrackingServer) -> dict[str, str]:
    """What the team's jobs have in their environment to log in; empty where there is no login."""
    secret = server.status.client.secret_name if server.status.client else None
    if not secret:
        return {}
    query = ("--namespace", server.metadata.namespace, "--output=json")
    return contents_of(json.loads(cluster.kubectl("get", "secret", secret, *query)))
