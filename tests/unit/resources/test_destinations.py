"""Which Service a host means, and what an address becomes for a NetworkPolicy."""

import pytest

from tests.unit.examples import Manifest
from tracking_operator.resources.destinations import (
    Destination,
    Endpoint,
    Pods,
    ServiceName,
    anywhere,
    is_certainly_a_service,
    named_service,
    resolve,
)

POSTGRES = Endpoint("pg.db.svc", 5432)


def service(port: Manifest | None = None, **spec: object) -> Manifest:
    known: Manifest = {"selector": {"app": "pg"}, "ports": [{"port": 5432, **(port or {})}]}
    return {"spec": known | spec}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("pg.db.svc", ServiceName("db", "pg")),
        ("pg.db.svc.cluster.local", ServiceName("db", "pg")),
        ("PG.db.svc.cluster.local.", ServiceName("db", "pg")),
        ("pg.db", ServiceName("db", "pg")),
        ("pg", ServiceName("team-a", "pg")),
        ("example.com", ServiceName("com", "example")),
        ("pod-0.pg.db.svc", None),
        ("pg.db.svc.elsewhere.local", None),
        ("db.eu.example.com", None),
        ("10.0.0.1", None),
        ("2001:db8::1", None),
        ("localhost", None),
        ("", None),
        (".svc", None),
        ("pg.svc", None),
        ("pg.db/../../secrets.svc", None),
        ("..", None),
        ("../x", None),
        ("pg%2e.db", None),
        ("pg?.db", None),
        (f"{'x' * 64}.db", None),
    ],
)
def test_a_host_means_a_service_or_certainly_none(host: str, expected: ServiceName | None) -> None:
    assert named_service(host, "team-a", "cluster.local") == expected


def test_only_a_name_that_says_so_is_certainly_a_services() -> None:
    assert is_certainly_a_service("pg.db.svc", "cluster.local")
    assert is_certainly_a_service("pg.db.svc.cluster.local.", "cluster.local")
    assert not is_certainly_a_service("pg.db", "cluster.local")
    assert not is_certainly_a_service("pg.db.svc.example.com", "cluster.local")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (service(), Destination((5432,), Pods("db", {"app": "pg"}))),
        (service({"targetPort": 15432}), Destination((15432,), Pods("db", {"app": "pg"}))),
        (service({"targetPort": "postgres"}), Destination(("postgres",), Pods("db", {"app": "pg"}))),
        (service({"targetPort": 99, "protocol": "UDP"}), Destination((5432,), Pods("db", {"app": "pg"}))),
        (service(ports=[{"port": 1, "targetPort": 2}]), Destination((5432,), Pods("db", {"app": "pg"}))),
        (service({"targetPort": 15432}, clusterIP="None"), Destination((5432,), Pods("db", {"app": "pg"}))),
        (service({"targetPort": 15432}, selector=None), anywhere(5432, 15432)),
        (service({"targetPort": "postgres"}, selector={}), anywhere(5432)),
        (service({"targetPort": 15432}, type="ExternalName", selector=None), anywhere(5432)),
        (service(type="ExternalName", externalName="db.example.com"), anywhere(5432)),
        ({}, anywhere(5432)),
        (None, anywhere(5432)),
    ],
)
def test_a_service_becomes_the_pods_behind_it_at_the_port_where_they_listen(
    found: Manifest | None, expected: Destination
) -> None:
    assert resolve(POSTGRES, found, "db") == expected
