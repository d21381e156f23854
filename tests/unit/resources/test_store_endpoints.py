"""Where stores are, as URIs, variables and classes say it."""

import pytest

from tests.unit.examples import (
    EXTERNAL_BUCKET,
    EXTERNAL_DATABASE,
    Manifest,
    model,
    postgres_class,
    s3_class,
)
from tracking_operator.resources.destinations import Destination, Endpoint, anywhere
from tracking_operator.resources.store_endpoints import named_endpoints, unresolved
from tracking_operator.resources.stores.endpoints_in_text import (
    endpoint_of_url,
    endpoints_in_database_uri,
    endpoints_in_variables,
)

HTTPS = Endpoint("", 443)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql+psycopg2://me:secret@pg.db.svc:6543/x", [Endpoint("pg.db.svc", 6543)]),
        ("postgresql://pg.db.svc/x", [Endpoint("pg.db.svc", 5432)]),
        ("postgres://me:x@pg.db.svc/x", [Endpoint("pg.db.svc", 5432)]),
        ("postgresql://me:a/b#c?d@pg:6543/x", [Endpoint("pg", 6543)]),
        ("postgresql://me@pg", [Endpoint("pg", 5432)]),
        ("postgresql://me:x@[2001:db8::1]:6543/x", [Endpoint("2001:db8::1", 6543)]),
        ("postgresql://me:x@[2001:db8::1]/x", [Endpoint("2001:db8::1", 5432)]),
        ("postgresql:///x?host=pg&port=6543", [Endpoint("pg", 6543)]),
        ("postgresql:///x?host=a:1&host=b:2&host=b:2", [Endpoint("a", 1), Endpoint("b", 2)]),
        ("postgresql:///x?host=/run/postgresql", [Endpoint("", 5432)]),
        ("postgresql:///x?user=me:@home", [Endpoint("", 5432)]),
        ("mysql+pymysql://me:x@db.example.com/x", [Endpoint("db.example.com", 3306)]),
        ("mssql+pyodbc://me:x@db.example.com:bad/x", [Endpoint("db.example.com", 1433)]),
        ("postgresql://pg:99999/x\n", [Endpoint("pg", 5432)]),
        ("sqlite:////data/x.db", []),
        ("oracle://me:x@db/x", [Endpoint("", port) for port in (1433, 3306, 5432)]),
        (
            "postgresql://me:p@ss/word@pg:6543/x",
            [Endpoint("", port) for port in (1433, 3306, 5432)],
        ),
        ("nonsense", [Endpoint("", port) for port in (1433, 3306, 5432)]),
        ("", [Endpoint("", port) for port in (1433, 3306, 5432)]),
    ],
)
def test_a_database_uri_leads_where_sqlalchemy_goes(uri: str, expected: list[Endpoint]) -> None:
    assert list(endpoints_in_database_uri(uri)) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://s3.example.com", Endpoint("s3.example.com", 443)),
        ("http://s3.s3.svc:7070/", Endpoint("s3.s3.svc", 7070)),
        ("http://s3.s3.svc", Endpoint("s3.s3.svc", 80)),
        ("s3.example.com:9000", Endpoint("s3.example.com", 9000)),
        ("https://me:x@s3.example.com:9000", Endpoint("s3.example.com", 9000)),
        ("http://[2001:db8::1]:9000", Endpoint("2001:db8::1", 9000)),
        ("http://s3:notaport", HTTPS),
        ("http://[", HTTPS),
    ],
)
def test_a_url_leads_to_its_host_and_port(url: str, expected: Endpoint) -> None:
    assert endpoint_of_url(url) == expected


def test_variables_name_endpoints_of_each_kind_of_store() -> None:
    variables = {
        "MLFLOW_S3_ENDPOINT_URL": "http://s3.s3.svc:7070",
        "AWS_ENDPOINT_URL": "http://s3.s3.svc:7070",
        "STORAGE_EMULATOR_HOST": "http://gcs:4443",
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=x;AccountKey=k==;BlobEndpoint=http://azurite:10000/x;",
        "UNRELATED": "http://elsewhere:1",
        "AWS_ENDPOINT_URL_S3": "",
    }
    assert endpoints_in_variables(variables) == (
        Endpoint("s3.s3.svc", 7070),
        Endpoint("gcs", 4443),
        Endpoint("azurite", 10000),
    )


def test_what_is_on_a_volume_leads_nowhere() -> None:
    assert unresolved(model()).backend_store == ()
    assert unresolved(model()).artifact_store == ()


def test_a_class_says_where_its_stores_are() -> None:
    named = named_endpoints(model({}, postgres_class(spec={"s3": s3_class().spec.s3.as_kubernetes()})))  # type: ignore[union-attr]
    assert named.backend_store == (Endpoint("pg.db.svc", 5432),)
    assert named.artifact_store == (Endpoint("s3.s3.svc", 7070),)


@pytest.mark.parametrize(
    ("identity", "beyond"),
    [
        (
            {"irsa": {"roleArnTemplate": "arn:aws:iam::123456789012:role/{{ namespace }}.{{ name }}"}},
            [anywhere(443)],
        ),
        (
            {"podIdentity": {}},
            [Destination((80,), addresses={"IPv4": "169.254.170.23/32", "IPv6": "fd00:ec2::23/128"})],
        ),
        ({"secret": {"nameTemplate": "{{ name }}-keys"}}, []),
    ],
)
def test_an_identity_of_aws_is_asked_for_where_aws_gives_it(
    identity: Manifest, beyond: list[Destination]
) -> None:
    server = model({}, s3_class({"identity": identity, "endpoint": None}))
    assert unresolved(server).artifact_store == (anywhere(443), *beyond)


def test_an_external_database_leads_where_its_secret_says_and_to_the_usual_ports_before() -> None:
    server = model({"backendStore": EXTERNAL_DATABASE})
    known = (Endpoint("pg", 6543),)
    assert named_endpoints(server, database=known).backend_store == known
    assert named_endpoints(server, database=()).backend_store == ()
    assert {one.port for one in named_endpoints(server).backend_store} == {1433, 3306, 5432}


@pytest.mark.parametrize(
    ("template", "in_secret", "expected"),
    [
        ({}, [], [HTTPS]),
        ({}, [Endpoint("s3", 9000)], [Endpoint("s3", 9000), HTTPS]),
        (
            {"env": [{"name": "AWS_ENDPOINT_URL", "value": "http://s3:9000"}]},
            [],
            [Endpoint("s3", 9000), HTTPS],
        ),
        ({"envFrom": [{"secretRef": {"name": "x"}}]}, [], [HTTPS, Endpoint("", 80), Endpoint("", 9000)]),
        ({"envFrom": [{"secretRef": {"name": "x"}}]}, [Endpoint("s3", 1)], [Endpoint("s3", 1), HTTPS]),
    ],
)
def test_an_external_object_store_is_at_443_and_where_team_and_secret_say(
    template: Manifest, in_secret: list[Endpoint], expected: list[Endpoint]
) -> None:
    server = model({"artifactStore": EXTERNAL_BUCKET, "podTemplate": template})
    assert list(named_endpoints(server, object_store=in_secret).artifact_store) == expected
