"""Addresses: which overlap, what their URL is, and what leads requests to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import Manifest, model, tracking_class
from tracking_operator.resources.http_route import build_http_route
from tracking_operator.resources.ingress import build_ingress
from tracking_operator.resources.server_address import Address, ServerAccess, contains_path, overlap
from tracking_operator.resources.server_model import KubeObject, ServerModel

PATHS = st.lists(st.sampled_from(["a", "b", "team", "team-a"]), max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)

OVERLAPS = [
    ("/", "/", True),
    ("/", "/team-a", True),
    ("/team-a", "/team-a", True),
    ("/team-a", "/team-a/mlflow", True),
    ("/team", "/team-a", False),
    ("/team-a", "/team-b", False),
    ("/team-a/one", "/team-a/two", False),
]


class TestOverlap:
    @pytest.mark.parametrize(("one", "other", "expected"), OVERLAPS)
    def test_is_decided_segment_by_segment(self, one: str, other: str, *, expected: bool) -> None:
        assert overlap(("host", one), ("host", other)) is expected
        assert overlap(("host", other), ("host", one)) is expected

    def test_needs_the_same_host(self) -> None:
        assert not overlap(("a.example.com", "/"), ("b.example.com", "/"))

    @given(PATHS, PATHS)
    def test_of_paths_is_what_a_prefix_of_an_ingress_matches(self, path: str, other: str) -> None:
        segments, others = ([part for part in one.split("/") if part] for one in (path, other))
        assert contains_path(path, other) == (others[: len(segments)] == segments)


class TestAddress:
    @pytest.mark.parametrize(
        ("address", "url", "header", "hosts"),
        [
            (Address(), None, "", ()),
            (Address(path="/a"), None, "", ()),
            (Address("h.com", "/", "https://h.com"), "https://h.com", "h.com", ("h.com",)),
            (Address("h.com", "/a", "http://h.com"), "http://h.com/a", "h.com", ("h.com",)),
            (
                Address("h.com", "/a", "http://localhost:7006"),
                "http://localhost:7006/a",
                "localhost:7006",
                ("h.com", "localhost"),
            ),
            (Address("", "/a", "https://p.com:8443"), "https://p.com:8443/a", "p.com:8443", ("p.com",)),
        ],
    )
    def test_says_what_people_open_and_what_they_send(
        self, address: Address, url: str | None, header: str, hosts: tuple[str, ...]
    ) -> None:
        assert (address.url, address.host_header, address.hosts) == (url, header, hosts)
        assert address.places == {(host, address.path) for host in hosts}

    def test_answers_the_same_hosts_in_the_same_order_whichever_is_in_use(self) -> None:
        old, new = Address("b.com", "/", "http://b.com"), Address("a.com", "/", "http://a.com")
        moving = ServerAccess(old, next_address=new)
        assert moving.hosts == ServerAccess(new, former_host="b.com").hosts == ["a.com", "b.com"]


def routed(offer: Manifest, access: Manifest | None = None, naming: Manifest | None = None) -> ServerModel:
    spec: Manifest = {
        "access": offer,
        "naming": naming or {"host": "{{ name }}.{{ namespace }}.example.com"},
        "permissions": {"hosts": ["*.example.com"]},
    }
    return model({"access": access or {}}, tracking_class(spec, is_default=True))


def moving(server: ServerModel, host: str, path: str) -> ServerModel:
    """The server on its way to another address."""
    access = server.access
    following = Address(host, path, f"https://{host}")
    changed = ServerAccess(access.address, following, routing=access.routing)
    return ServerModel(**{**vars(server), "access": changed})


def rules(ingress: KubeObject | None) -> list[tuple[str, list[str]]]:
    assert ingress
    return [
        (rule["host"], [path["path"] for path in rule["http"]["paths"]]) for rule in ingress["spec"]["rules"]
    ]


class TestUrl:
    @pytest.mark.parametrize(
        ("offer", "url"),
        [
            ({}, "http://mlflow.team-a.example.com"),
            ({"ingress": {}}, "http://mlflow.team-a.example.com"),
            ({"ingress": {"tls": {}}}, "https://mlflow.team-a.example.com"),
            ({"ingress": {"tls": {"secretName": "wildcard"}}}, "https://mlflow.team-a.example.com"),
            ({"gateway": {"parentRef": {"name": "public"}}}, "https://mlflow.team-a.example.com"),
            (
                {"ingress": {}, "publicURL": "https://{{ host }}:8443"},
                "https://mlflow.team-a.example.com:8443",
            ),
            ({"ingress": {}, "publicURL": "https://{{ host }}:443/"}, "https://mlflow.team-a.example.com"),
        ],
    )
    def test_is_what_a_person_can_open(self, offer: Manifest, url: str) -> None:
        assert routed(offer).url == url
        assert routed(offer, {"path": "/a/b"}).url == f"{url}/a/b"

    def test_is_the_class_s_own_where_all_servers_share_one(self) -> None:
        shared = routed(
            {"publicURL": "http://localhost:7006"}, naming={"path": "/{{ namespace }}/{{ name }}"}
        )
        assert shared.url == "http://localhost:7006/team-a/mlflow"

    def test_without_any_host_is_the_one_of_the_service(self) -> None:
        assert model({"access": {"path": "/a"}}).url == "http://mlflow.team-a.svc/a"


class TestIngress:
    def test_has_a_rule_for_the_public_host_too(self) -> None:
        naming = {"host": "{{ name }}.{{ namespace }}.example.com", "path": "/{{ namespace }}/{{ name }}"}
        server = routed({"ingress": {}, "publicURL": "http://localhost:7006"}, naming=naming)
        path = "/team-a/mlflow"
        assert rules(build_ingress(server)) == [("localhost", [path]), ("mlflow.team-a.example.com", [path])]

    def test_knows_both_addresses_while_the_server_moves(self) -> None:
        server = routed({"ingress": {}})
        both = build_ingress(moving(server, "new.example.com", "/b"))
        assert rules(both) == [("mlflow.team-a.example.com", ["/"]), ("new.example.com", ["/b"])]
        same_host = build_ingress(moving(server, "mlflow.team-a.example.com", "/b"))
        assert rules(same_host) == [("mlflow.team-a.example.com", ["/", "/b"])]

    def test_is_none_where_the_class_offers_none(self) -> None:
        assert build_ingress(routed({})) is None
        assert build_http_route(routed({"ingress": {}})) is None


class TestHttpRoute:
    OFFER = {"gateway": {"parentRef": {"name": "public", "port": 443}}}  # noqa: RUF012 - never changed

    def test_knows_both_addresses_where_they_share_host_or_path(self) -> None:
        server = routed(self.OFFER)
        by_host = build_http_route(moving(server, "new.example.com", "/"))
        assert by_host and by_host["spec"]["hostnames"] == ["mlflow.team-a.example.com", "new.example.com"]
        by_path = build_http_route(moving(server, "mlflow.team-a.example.com", "/b"))
        assert by_path and len(by_path["spec"]["rules"]) == 2

    def test_takes_no_place_that_is_not_the_servers(self) -> None:
        route = build_http_route(moving(routed(self.OFFER), "new.example.com", "/b"))
        assert route
        assert route["spec"]["hostnames"] == ["mlflow.team-a.example.com"]
        assert route["spec"]["rules"][0]["matches"][0]["path"]["value"] == "/"

    def test_names_the_listener_that_the_class_names(self) -> None:
        route = build_http_route(routed(self.OFFER))
        assert route
        assert route["spec"]["parentRefs"] == [
            {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public", "port": 443}
        ]
