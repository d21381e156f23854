"""Tracking servers, classes and live objects that the tests of the core rooms share."""

import base64
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from dev.classes import generous
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.controllers.server.plan import Plan, ReconcileSettings, make_plan
from tracking_operator.controllers.server.spec.inputs import Inputs, Sibling
from tracking_operator.resources.artifacts_secret import ArtifactKeys
from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.database_secret import DatabaseCredentials, build_database_secret
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.postgres import PostgresBackend
from tracking_operator.resources.stores.s3 import S3Artifacts

Manifest = dict[str, Any]

UID = "0b5f5f2e-0000-4000-8000-000000000001"
SETTINGS = ReconcileSettings(cluster_name="test-cluster", image_repository="tracking-operator/mlflow")

GOLDEN = Path(__file__).parents[1] / "golden"
VERSION_OF_GOLDEN_SERVERS = "3.17.2"
GOLDEN_SERVERS = sorted(path.stem for path in (GOLDEN / "servers").glob("*.yaml"))

EXTERNAL_DATABASE: Manifest = {"external": {"uriSecretRef": {"name": "mlflow-db", "key": "uri"}}}
EXTERNAL_BUCKET: Manifest = {
    "external": {"uri": "s3://bucket/team-a", "credentialsSecretRef": {"name": "mlflow-bucket"}}
}
POSTGRES: Manifest = {"host": "pg.db.svc", "adminSecretRef": {"name": "pg-admin"}}
"""What a class says of its PostgreSQL server at the least."""
S3: Manifest = {
    "bucket": "ml-artifacts",
    "endpoint": "http://s3.s3.svc:7070",
    "identity": {"versitygw": {}},
    "adminSecretRef": {"name": "s3-admin"},
}
"""What a class says of its bucket."""
PASSWORD = "letters-and-digits"
SHARED_VOLUME: Manifest = {"volume": {"accessMode": "ReadWriteMany"}}


def server(
    spec: Manifest | None = None, *, status: Manifest | None = None, **metadata: object
) -> TrackingServer:
    """A TrackingServer `team-a/mlflow` as the API server would hand it out."""
    known: Manifest = {
        "name": "mlflow",
        "namespace": "team-a",
        "uid": UID,
        "generation": 1,
        "creationTimestamp": "2026-01-01T10:00:00Z",
    }
    return TrackingServer.model_validate(
        {"metadata": known | metadata, "spec": spec or {}, "status": status or {}}
    )


def tracking_class(
    spec: Manifest | None = None, name: str = "standard", *, is_default: bool = False
) -> TrackingServerClass:
    """A TrackingServerClass that permits what it does not forbid, and asks for a login only if it says so."""
    annotations = {"tracking-operator.dev/is-default-class": "true"} if is_default else {}
    return TrackingServerClass.model_validate(
        {"metadata": {"name": name, "annotations": annotations}, "spec": generous(spec or {})}
    )


def plan_of(
    resource: TrackingServer,
    *classes: TrackingServerClass,
    siblings: Iterable[TrackingServer] = (),
    namespace_labels: dict[str, str] | None = None,
    namespace_is_terminating: bool = False,
) -> Plan:
    """Plan a server in inputs of which only what matters is said."""
    around = Inputs(
        classes=classes,
        namespace_labels=namespace_labels or {},
        namespace_is_terminating=namespace_is_terminating,
        siblings=[Sibling.of(one) for one in siblings],
    )
    return make_plan(resource, around, SETTINGS)


def namespace(name: str = "team-a", uid: str = "uid-of-namespace") -> Manifest:
    """A namespace as the watch shows it."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "uid": uid, "resourceVersion": "1"},
    }


def placed(plan: Plan) -> Manifest:
    """The status of a server that was placed by this plan."""
    return {"placement": plan.placement.as_kubernetes()}


def model(spec: Manifest | None = None, *classes: TrackingServerClass) -> ServerModel:
    """The model of a new server with this specification."""
    return plan_of(server(spec), *classes).model


def postgres_class(
    offer: Manifest | None = None, spec: Manifest | None = None, name: str = "standard"
) -> TrackingServerClass:
    """The default class, with a PostgreSQL server that is described by ``offer``."""
    return tracking_class({"postgres": POSTGRES | (offer or {}), **(spec or {})}, name, is_default=True)


def s3_class(offer: Manifest | None = None, spec: Manifest | None = None) -> TrackingServerClass:
    """The default class, with a bucket that is described by ``offer``."""
    return tracking_class({"s3": S3 | (offer or {}), **(spec or {})}, is_default=True)


def s3_store(server: ServerModel) -> S3Artifacts:
    """The artifact store of a server that has a prefix of its own."""
    assert isinstance(server.artifact_store, S3Artifacts)
    return server.artifact_store


def postgres_store(server: ServerModel) -> PostgresBackend:
    """The backend store of a server that has a database of its own."""
    assert isinstance(server.backend_store, PostgresBackend)
    return server.backend_store


def login_credentials(**more: str) -> LoginCredentials:
    """Passwords of a server with a login, as the operator makes them."""
    known = LoginCredentials(
        admin="admin",
        admin_password=PASSWORD,
        user="team",
        user_password=PASSWORD[::-1],
        secret_key="key-of-flask",
        rotated_for="",
        rotated_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
    )
    return replace(known, **more)  # type: ignore[arg-type]


def credentials(
    password: str = PASSWORD,
    *,
    login: str = "mlflow_team_a_mlflow_1a2b3c4d_a",
    rotated_for: str = "",
    rotated_at: datetime = datetime(2026, 1, 1, 10, tzinfo=UTC),
) -> DatabaseCredentials:
    """Credentials of a server's own database."""
    return DatabaseCredentials(login, password, rotated_for, rotated_at)


def artifact_keys(
    secret_access_key: str = PASSWORD,
    *,
    access_key_id: str = "AKIDEXAMPLE",
    rotated_for: str = "",
    rotated_at: datetime = datetime(2026, 1, 1, 10, tzinfo=UTC),
) -> ArtifactKeys:
    """The access key of a server's own prefix."""
    return ArtifactKeys(access_key_id, secret_access_key, rotated_for, rotated_at)


def secret(name: str, namespace: str = "team-a", **content: str) -> Manifest:
    """A Secret as the API server keeps it: with its contents in base64."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in content.items()},
    }


def database_secret(
    server: ServerModel, credentials: DatabaseCredentials, ca_certificates: str | None = None
) -> Manifest:
    """The Secret of a server that has a database of its own."""
    return build_database_secret(server, postgres_store(server), credentials, ca_certificates)


def program_and_arguments(container: Manifest) -> list[str]:
    """Which of our programs a container runs, and how."""
    command = list(container["command"])
    return command[command.index("--") + 1 :]


def golden_plan(case: str) -> Plan:
    """Plan the server (and its class) of one golden file, which stands for servers that there are already.

    So a server without a version is of the release that was the newest when the first of them was written: another default
    rolls nobody.
    """
    documents = list(yaml.safe_load_all((GOLDEN / "servers" / f"{case}.yaml").read_text()))
    classes = [
        TrackingServerClass.model_validate(one | {"spec": generous(one.get("spec") or {})})
        for one in documents
        if one["kind"] == "TrackingServerClass"
    ]
    (resource,) = (one for one in documents if one["kind"] == "TrackingServer")
    if not classes or not classes[0].spec.mlflow.versions:
        resource["spec"] = {"version": VERSION_OF_GOLDEN_SERVERS} | (resource.get("spec") or {})
    return plan_of(TrackingServer.model_validate(resource), *classes)
