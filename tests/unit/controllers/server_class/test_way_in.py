"""Whether what a class leads requests through is there: told to the platform team, and asked for no more than needed."""

from http import HTTPStatus

import pytest

from tests.unit.controllers.live import live
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import Manifest, tracking_class
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.server_class.way_in import DEFAULT_INGRESS_CLASS, WayIn
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.errors import ApiError

ADDRESS = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
PUBLIC = {"name": "public", "namespace": "gateways"}


def ingress_class(name: str, *, is_default: bool = False) -> Manifest:
    annotations = {DEFAULT_INGRESS_CLASS: "true"} if is_default else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"controller": "example.com/test"},
    }


def gateway(*listeners: tuple[str, int]) -> Manifest:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "gateways"},
        "spec": {"listeners": [{"name": name, "port": port} for name, port in listeners]},
    }


class World:
    """A cluster, and what is said of classes in it."""

    def __init__(self, *objects: Manifest) -> None:
        self.api, self.cache, gateway_api = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL), GatewayApi()
        gateway_api.is_served = True
        for one in objects:
            self.api.store(one)
        self.way_in = WayIn(self.api.as_client(), self.cache, gateway_api)

    async def look(self, access: Manifest, *, fresh: bool = False) -> ConditionResult | None:
        self.api.calls.clear()
        spec = {"naming": {"host": "{{ name }}.{{ namespace }}.example.com"}, "access": access}
        return await self.way_in.result(tracking_class(spec), fresh=fresh)


@pytest.mark.parametrize(
    ("access", "objects", "reason", "said"),
    [
        ({"ingress": {"className": "nginx"}}, (), "IngressClassNotFound", "className 'nginx'"),
        ({"ingress": {}}, (), "IngressClassNotFound", "set access.ingress.className"),
        ({"ingress": {}}, (ingress_class("nginx"),), "IngressClassNotFound", f"{DEFAULT_INGRESS_CLASS}=true"),
        (
            {"gateway": {"parentRef": PUBLIC}},
            (),
            "GatewayNotFound",
            "Gateway gateways/public, which does not",
        ),
        (
            {"gateway": {"parentRef": PUBLIC | {"sectionName": "https"}}},
            (gateway(("http", 80)),),
            "GatewayNotFound",
            "names sectionName 'https' in access.gateway.parentRef, but Gateway gateways/public has no such listener (it has: "
            "http (port 80))",
        ),
        (
            {"gateway": {"parentRef": PUBLIC | {"port": 443, "sectionName": "http"}}},
            (gateway(("http", 80), ("https", 443)),),
            "GatewayNotFound",
            "sectionName 'http' and port 443",
        ),
        ({"gateway": {"parentRef": PUBLIC}}, (gateway(),), "GatewayNotFound", "(it has: none)"),
    ],
    ids=str,
)
async def test_what_is_missing_is_told_to_who_can_make_it(
    access: Manifest, objects: tuple[Manifest, ...], reason: str, said: str
) -> None:
    result = await World(*objects).look(access)
    assert result
    assert (result.reason.value, result.verdict) == (reason, Verdict.FAILING)
    assert said in result.message
    assert "platform team" not in result.message


@pytest.mark.parametrize(
    ("access", "objects"),
    [
        ({"ingress": {"className": "nginx"}}, (ingress_class("nginx"),)),
        ({"ingress": {}}, (ingress_class("nginx", is_default=True),)),
        ({"ingress": {"annotations": {"kubernetes.io/ingress.class": "nginx"}}}, ()),
        ({"gateway": {"parentRef": PUBLIC}}, (gateway(("http", 80)),)),
        ({"gateway": {"parentRef": PUBLIC | {"sectionName": "http"}}}, (gateway(("http", 80)),)),
        ({"gateway": {"parentRef": PUBLIC | {"port": 80}}}, (gateway(("https", 443), ("http", 80)),)),
        ({"gateway": {"parentRef": {"name": "of-each-team"}}}, ()),
        ({}, ()),
    ],
    ids=str,
)
async def test_what_is_there_is_asked_for_once(access: Manifest, objects: tuple[Manifest, ...]) -> None:
    world = World(*objects)
    assert await world.look(access) is None
    asked = list(world.api.calls)
    assert await world.look(access) is None
    assert world.api.calls == []
    assert await world.look(access, fresh=True) is None
    assert world.api.calls == asked


async def test_a_controller_that_asks_for_no_class_is_seen_by_the_addresses_that_it_gives() -> None:
    world = World()
    assert await world.look({"ingress": {}})
    world.cache.upsert(live("networking.k8s.io/v1", "Ingress", "mlflow", spec={}, status=ADDRESS))
    assert await world.look({"ingress": {}}) is None


async def test_what_the_operator_may_not_look_at_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def refused(*_: object) -> None:
        raise ApiError(HTTPStatus.FORBIDDEN, "Forbidden", "no")

    for verb in ("get", "list"):
        monkeypatch.setattr(world.api, verb, refused)
    ways: list[Manifest] = [
        {"ingress": {"className": "nginx"}},
        {"ingress": {}},
        {"gateway": {"parentRef": PUBLIC}},
    ]
    for access in ways:
        assert await world.look(access) is None
