"""Rules about changes, on a real API server: what may become of a server that is there already."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from tests.cluster.api_manifests import DEADLINE, ApiServer, Cluster, Manifest, tracking_server
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import (
    ALLOW_EMPTY_STORE_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
)

LET_IN = None

DATABASE = {"external": {"uriSecretRef": {"name": "my-db", "key": "uri"}}}
BUCKET = {"external": {"uri": "s3://bucket/path"}}

ON_SQLITE = {"className": "standard", "backendStore": {"kind": "sqlite"}, "artifactStore": {"kind": "volume"}}
ON_OTHERS = {
    "className": "standard",
    "backendStore": {"kind": "external"},
    "artifactStore": {"kind": "external"},
}

ON_POSTGRES = ON_OTHERS | {"backendStore": {"kind": "postgres"}}
POSTGRES: Manifest = {"postgres": {}}

ACCEPTED = {ALLOW_EMPTY_STORE_ANNOTATION: "true"}


@dataclass(frozen=True)
class Change:
    """A server as it is, and what somebody makes of it."""

    of: str
    before: Manifest
    after: Manifest
    sentence: str | None
    status: Manifest | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    """Annotations before and after the change."""
    annotations_after: dict[str, str] = field(default_factory=dict)


def sqlite(size: str | int) -> Manifest:
    """A specification that names SQLite with this size."""
    return {"backendStore": {"sqlite": {"size": size}}}


def volume(size: str | int) -> Manifest:
    """A specification that names a volume with this size."""
    return {"artifactStore": {"volume": {"size": size}}}


def placed(backend_store: str) -> Manifest:
    """The status of a server that was placed a moment ago."""
    return {"placement": {"version": "3.17.2", "backendStore": backend_store, "artifactStore": "volume"}}


STARTS_EMPTY = "because the server would start empty"
CANNOT_SHRINK = "may not become smaller, because volumes cannot shrink"

CHANGES = [
    # Sizes
    Change("the size, upwards", sqlite("1Gi"), sqlite("2Gi"), LET_IN),
    Change("the size, written differently", sqlite("1Gi"), sqlite(1073741824), LET_IN),
    Change("the size, downwards", sqlite("2Gi"), sqlite("1Gi"), f"backendStore.sqlite.size {CANNOT_SHRINK}"),
    Change("the size, downwards by its unit", volume("10Gi"), volume("10G"),
           f"artifactStore.volume.size {CANNOT_SHRINK}"),
    Change("a size, removed", sqlite("2Gi"), {"backendStore": {"sqlite": {}}}, LET_IN),
    # The class may have made it smaller or larger than anybody here knows: the operator compares it with the volume.
    Change("the usual size, by another one", {"backendStore": {"sqlite": {}}}, sqlite("500Mi"), LET_IN),
    Change("the usual size of a volume, by another one", {"artifactStore": {"volume": {}}}, volume("9Gi"), LET_IN),
    Change("a volume of usual size that was not named, by another one", {}, volume("1Gi"), LET_IN, status=ON_SQLITE),
    Change("a store of default size that was not named, by a bigger one", {}, sqlite("5Gi"), LET_IN, status=ON_SQLITE),
    Change("the size by a malformed one", sqlite("1Gi"), sqlite("much"), "must be a Kubernetes quantity of bytes"),
    Change("something else, where the store is small", sqlite("5Mi"), {**sqlite("5Mi"), "suspend": True}, LET_IN,
           status=ON_SQLITE),

    # Class
    Change("the class, before it is resolved", {"className": "a"}, {"className": "b"}, LET_IN),
    Change("the class, after it is resolved", {"className": "standard"}, {"className": "other"},
           "spec.className is fixed once the server exists", status=ON_SQLITE),
    Change("the default class, to another", {}, {"className": "other"},
           "spec.className is fixed once the server exists", status=ON_SQLITE),
    Change("the default class, by its name", {}, {"className": "standard"}, LET_IN, status=ON_SQLITE),
    Change("the class's name, left out", {"className": "standard"}, {}, LET_IN, status=ON_SQLITE),
    Change("the built-in class, to one with a name", {}, {"className": "standard"}, LET_IN,
           status={**ON_SQLITE, "className": None}),

    # Replicas
    Change("replicas, of a server that is on SQLite without saying so", {}, {"replicas": 2},
           "spec.replicas must be 0 or 1, because this server keeps its runs in SQLite", status=ON_SQLITE),
    Change("replicas, of a server whose artifacts are on a volume without saying so", {"backendStore": DATABASE},
           {"backendStore": DATABASE, "replicas": 2}, "because this server keeps its artifacts on a volume",
           status={**ON_OTHERS, "artifactStore": {"kind": "volume"}}),
    Change("replicas, naming a volume that several nodes mount", {"backendStore": DATABASE},
           {"backendStore": DATABASE, "replicas": 2, "artifactStore": {"volume": {"accessMode": "ReadWriteMany"}}},
           LET_IN, status={**ON_OTHERS, "artifactStore": {"kind": "volume"}}),
    Change("replicas, moving from SQLite to PostgreSQL", {}, {"backendStore": POSTGRES, "replicas": 3}, LET_IN,
           status={**ON_OTHERS, "backendStore": {"kind": "sqlite"}}, annotations_after=ACCEPTED),
    Change("replicas, moving from SQLite to an external database", {}, {"backendStore": DATABASE, "replicas": 3},
           LET_IN, status={**ON_OTHERS, "backendStore": {"kind": "sqlite"}}, annotations_after=ACCEPTED),
    Change("replicas, of a server on PostgreSQL without saying so", {}, {"replicas": 3}, LET_IN, status=ON_POSTGRES),
    Change("replicas, moving from PostgreSQL to SQLite", {"backendStore": POSTGRES},
           {"backendStore": {"sqlite": {}}, "replicas": 2}, "replicas must be 0 or 1 with backendStore.sqlite",
           status=ON_POSTGRES, annotations_after=ACCEPTED),
    Change("replicas to none, on SQLite", {}, {"replicas": 0}, LET_IN, status=ON_SQLITE),
    Change("replicas, of a server on a database", {}, {"replicas": 3}, LET_IN, status=ON_OTHERS),
    Change("something else, where too many replicas were asked for before the store was known",
           {"replicas": 2}, {"replicas": 2, "suspend": True}, LET_IN, status=ON_SQLITE),

    # Kinds of stores
    Change("SQLite to a database", {}, {"backendStore": DATABASE},
           f"spec.backendStore may not change from sqlite to external, {STARTS_EMPTY}", status=ON_SQLITE),
    Change("a database to SQLite", {"backendStore": DATABASE}, {"backendStore": {"sqlite": {}}},
           f"spec.backendStore may not change from external to sqlite, {STARTS_EMPTY}", status=ON_OTHERS),
    Change("SQLite to PostgreSQL", {}, {"backendStore": POSTGRES},
           f"spec.backendStore may not change from sqlite to postgres, {STARTS_EMPTY}", status=ON_SQLITE),
    Change("SQLite to PostgreSQL, accepting that it is empty", {}, {"backendStore": POSTGRES}, LET_IN,
           status=ON_SQLITE, annotations_after=ACCEPTED),
    Change("SQLite by name to PostgreSQL", {"backendStore": {"sqlite": {}}}, {"backendStore": POSTGRES},
           f"spec.backendStore may not change from sqlite to postgres, {STARTS_EMPTY}", status=ON_SQLITE),
    Change("PostgreSQL to SQLite", {"backendStore": POSTGRES}, {"backendStore": {"sqlite": {}}},
           f"spec.backendStore may not change from postgres to sqlite, {STARTS_EMPTY}", status=ON_POSTGRES),
    Change("PostgreSQL to an external database", {}, {"backendStore": DATABASE},
           f"spec.backendStore may not change from postgres to external, {STARTS_EMPTY}", status=ON_POSTGRES),
    Change("an external database to PostgreSQL", {"backendStore": DATABASE}, {"backendStore": POSTGRES},
           f"spec.backendStore may not change from external to postgres, {STARTS_EMPTY}", status=ON_OTHERS),
    Change("PostgreSQL's name, left out", {"backendStore": POSTGRES}, {}, LET_IN, status=ON_POSTGRES),
    Change("PostgreSQL, by the name of what it is", {}, {"backendStore": POSTGRES}, LET_IN, status=ON_POSTGRES),
    Change("PostgreSQL, where nothing but the placement is in the status yet", {"backendStore": POSTGRES},
           {"backendStore": {"sqlite": {}}}, STARTS_EMPTY, status=placed("postgres")),
    Change("the number of connections", {"backendStore": POSTGRES},
           {"backendStore": {"postgres": {"connectionLimit": 60}}}, LET_IN, status=ON_POSTGRES),
    Change("a volume to a bucket", {}, {"artifactStore": BUCKET},
           f"spec.artifactStore may not change from volume to external, {STARTS_EMPTY}", status=ON_SQLITE),
    Change("a bucket to a volume", {"artifactStore": BUCKET}, {"artifactStore": {"volume": {}}},
           f"spec.artifactStore may not change from external to volume, {STARTS_EMPTY}", status=ON_OTHERS),
    Change("SQLite to a database, accepting that it is empty", {}, {"backendStore": DATABASE}, LET_IN,
           status=ON_SQLITE, annotations_after=ACCEPTED),
    Change("SQLite to a database, with another word than true", {}, {"backendStore": DATABASE}, STARTS_EMPTY,
           status=ON_SQLITE, annotations_after={ALLOW_EMPTY_STORE_ANNOTATION: "yes"}),
    Change("SQLite's name, left out", {"backendStore": {"sqlite": {}}}, {}, LET_IN, status=ON_SQLITE),
    Change("an external database, left out", {"backendStore": DATABASE}, {},
           f"spec.backendStore may not change from external to nothing, {STARTS_EMPTY}", status=ON_OTHERS),
    Change("an external database, left out, accepting to start empty", {"backendStore": DATABASE}, {}, LET_IN,
           status=ON_OTHERS, annotations_after=ACCEPTED),
    Change("a bucket, left out", {"artifactStore": BUCKET}, {}, "spec.artifactStore may not change from external",
           status=ON_OTHERS),
    Change("a bucket, for another one", {"artifactStore": BUCKET}, {"artifactStore": {"external": {"uri": "gs://b"}}},
           LET_IN, status=ON_OTHERS),
    Change("the store, by the name of what it is", {}, {"backendStore": {"sqlite": {}}}, LET_IN, status=ON_SQLITE),
    Change("the store, before anything was decided", {"backendStore": DATABASE}, {"backendStore": {"sqlite": {}}},
           LET_IN),
    Change("the store, where nothing but the placement is in the status yet", {"backendStore": DATABASE},
           {"backendStore": {"sqlite": {}}}, STARTS_EMPTY, status=placed("external")),
    Change("the annotation, taken away while the operator has not followed yet", {"backendStore": DATABASE},
           {"backendStore": DATABASE, "suspend": True}, LET_IN, status=ON_SQLITE),
]  # fmt: skip


@pytest.fixture(scope="module")
def api_server(cluster: Cluster) -> Iterator[ApiServer]:
    """The API server with the CRDs and the admission policy in force, and a namespace of its own."""
    namespace = f"api-changes-{uuid4().hex[:8]}"
    api = ApiServer(cluster, namespace)
    created = api.kubectl("create", "namespace", namespace)
    assert created.returncode == 0, created.stderr
    api.install()
    with api.holding(tracking_server({}, name="probe"), status=ON_SQLITE):
        change = tracking_server({"artifactStore": BUCKET}, name="probe")
        wait_until(lambda: api.refusal(change) is not None, DEADLINE, "the admission policy is in force")
    yield api
    api.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.parametrize("change", [pytest.param(change, id=change.of) for change in CHANGES])
def test_change(api_server: ApiServer, change: Change) -> None:
    name = f"s-{uuid4().hex[:8]}"
    before = tracking_server(change.before, name=name, annotations=change.annotations)
    after = tracking_server(
        change.after, name=name, annotations={**change.annotations, **change.annotations_after}
    )
    with api_server.holding(before, status=change.status):
        said = api_server.refusal(after)
    if change.sentence is None:
        assert said is None, f"refused, but should be let in: {said}"
    else:
        assert said is not None, f"let in, but should be refused with: {change.sentence}"
        assert change.sentence in said


def test_kubectl_scale_meets_the_same_rules(api_server: ApiServer) -> None:
    with api_server.holding(tracking_server({}, name="scaled"), status=ON_SQLITE):
        refused = api_server.kubectl("scale", "trackingserver/scaled", "--replicas=2")
        let_in = api_server.kubectl("scale", "trackingserver/scaled", "--replicas=0")
        spec = api_server.stored(tracking_server({}, name="scaled"))["spec"]
    assert "this server keeps its runs in SQLite" in refused.stderr
    assert let_in.returncode == 0, let_in.stderr
    assert spec["replicas"] == 0


def test_the_operator_can_write_a_status_beside_a_specification_that_it_cannot_follow(
    api_server: ApiServer,
) -> None:
    """Otherwise the condition that says what is wrong could never be stored."""
    manifest = tracking_server(
        {"className": "other", "replicas": 3, "artifactStore": BUCKET}, name="contradiction"
    )
    with api_server.holding(manifest, status=ON_SQLITE):
        api_server.store(manifest, status={**ON_OTHERS, "conditions": []})


def test_the_operator_can_write_annotations_beside_a_store_that_it_does_not_follow(
    api_server: ApiServer,
) -> None:
    manifest = tracking_server({"backendStore": DATABASE}, name="not-followed")
    with api_server.holding(manifest, status=ON_SQLITE):
        annotated = api_server.kubectl(
            "annotate", "trackingserver/not-followed", f"{ROTATE_CREDENTIALS_ANNOTATION}=now"
        )
    assert annotated.returncode == 0, annotated.stderr
