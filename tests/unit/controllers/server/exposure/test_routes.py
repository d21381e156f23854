"""What is missing on the way to a server: said by its Ingress or HTTPRoute, and looked for no more than needed."""

import pytest

from tests.unit.controllers.live import live
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import Manifest, model, tracking_class
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.server.exposure.routes import RouteMemory, Routes
from tracking_operator.resources.server_model import ServerModel

ADDRESS = {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}
CERT_MANAGER = {"cert-manager.io/cluster-issuer": "letsencrypt"}


def server(access: Manifest) -> ServerModel:
    spec = {"naming": {"host": "{{ name }}.{{ namespace }}.example.com"}, "access": access}
    return model({}, tracking_class(spec, is_default=True))


def ingress(status: Manifest | None = None, class_name: str | None = "traefik") -> Manifest:
    spec = {"ingressClassName": class_name} if class_name else {}
    return live("networking.k8s.io/v1", "Ingress", "mlflow", spec=spec, status=status or {})


def route(*conditions: tuple[str, str, str], gateway: str = "public") -> Manifest:
    said = [
        {"type": type_, "status": status, "reason": reason, "message": "in its\nown words."}
        for type_, status, reason in conditions
    ]
    parents = [{"parentRef": {"name": gateway}, "conditions": said}]
    return live("gateway.networking.k8s.io/v1", "HTTPRoute", "mlflow", spec={}, status={"parents": parents})


class World:
    """A cluster with some Secrets and IngressClasses, and perhaps the Gateway API."""

    def __init__(self, *, gateway_api: bool = True) -> None:
        self.api, self.gateway_api = MemoryApi(), GatewayApi()
        self.gateway_api.is_served = gateway_api
        self.routes = Routes(self.api.as_client(), self.gateway_api)
        self.memory = RouteMemory()

    def put(self, api_version: str, kind: str, name: str, namespace: str | None = "team-a") -> None:
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        self.api.store({"apiVersion": api_version, "kind": kind, "metadata": metadata})

    async def look(self, of: ServerModel, *children: Manifest, fresh: bool = False) -> ConditionResult | None:
        self.api.calls.clear()
        if fresh:
            self.memory.invalidate()
        return await self.routes.look(of, children, self.memory)


async def said(world: World, of: ServerModel, *children: Manifest) -> tuple[str, Verdict]:
    condition_result = await world.look(of, *children)
    assert condition_result
    assert condition_result.message.endswith(".")
    return condition_result.reason.value, condition_result.verdict


class TestIngress:
    TLS = server({"ingress": {"className": "traefik", "tls": {"secretName": "certificate"}}})
    PLAIN = server({"ingress": {"className": "traefik"}})

    async def test_without_an_address_of_a_class_that_is_missing(self) -> None:
        assert await said(World(), self.PLAIN, ingress()) == ("IngressClassNotFound", Verdict.FAILING)

    async def test_without_an_address_yet(self) -> None:
        world = World()
        world.put("networking.k8s.io/v1", "IngressClass", "traefik", None)
        assert await said(world, self.PLAIN, ingress()) == ("AddressPending", Verdict.WORKING)

    async def test_of_no_class_says_that_there_is_no_default_one(self) -> None:
        condition_result = await World().look(self.PLAIN, ingress(class_name=None))
        assert condition_result
        assert condition_result.reason.value == "IngressClassNotFound"
        assert "no default one" in condition_result.message

    async def test_of_a_controller_that_an_annotation_names_may_get_its_address_yet(self) -> None:
        one = ingress(class_name=None)
        one["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "nginx"}
        assert await said(World(), self.PLAIN, one) == ("AddressPending", Verdict.WORKING)

    async def test_with_an_address_is_a_way_in(self) -> None:
        assert await World().look(self.PLAIN, ingress(ADDRESS)) is None

    async def test_whose_certificate_is_missing(self) -> None:
        world = World()
        assert await said(world, self.TLS, ingress(ADDRESS)) == ("TlsSecretNotFound", Verdict.FAILING)
        world.put("v1", "Secret", "certificate")
        assert await world.look(self.TLS, ingress(ADDRESS)) is None

    async def test_whose_certificate_cert_manager_is_about_to_make(self) -> None:
        offer = {"annotations": CERT_MANAGER, "tls": {"secretName": "certificate"}}
        found = await said(World(), server({"ingress": offer}), ingress(ADDRESS))
        assert found == ("TlsSecretNotFound", Verdict.WORKING)

    async def test_that_is_well_costs_nothing_until_something_changes(self) -> None:
        world = World()
        world.put("v1", "Secret", "certificate")
        await world.look(self.TLS, ingress(ADDRESS))
        assert world.api.calls == ["get Secret"]
        await world.look(self.TLS, ingress(ADDRESS))
        assert world.api.calls == []
        await world.look(self.TLS, ingress(ADDRESS), fresh=True)
        assert world.api.calls == ["get Secret"]


class TestRoute:
    SERVER = server({"gateway": {"parentRef": {"name": "public"}}})

    async def test_without_the_gateway_api_has_somebody_look_for_it(self) -> None:
        world = World(gateway_api=False)
        assert await said(world, self.SERVER) == ("GatewayApiMissing", Verdict.FAILING)
        assert world.gateway_api.is_wanted.is_set()

    async def test_that_is_accepted_is_a_way_in(self) -> None:
        accepted = route(("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs"))
        assert await World().look(self.SERVER, accepted) is None

    @pytest.mark.parametrize(
        "one", [route(), route(("Accepted", "True", "Accepted"), gateway="another")], ids=["none", "another"]
    )
    async def test_that_its_gateway_says_nothing_about(self, one: Manifest) -> None:
        world = World()
        assert await said(world, self.SERVER, one) == ("GatewayNotFound", Verdict.FAILING)
        world.put("gateway.networking.k8s.io/v1", "Gateway", "public")
        assert await said(world, self.SERVER, one) == ("AddressPending", Verdict.WORKING)

    @pytest.mark.parametrize(
        ("type_", "reason"),
        [
            ("Accepted", "NotAllowedByListeners"),
            ("Accepted", "NoMatchingParent"),
            ("ResolvedRefs", "RefNotPermitted"),
        ],
    )
    async def test_that_is_refused_has_the_gateways_own_reason(self, type_: str, reason: str) -> None:
        refused = route(("Accepted", "True", "Accepted"), (type_, "False", reason))
        condition_result = await World().look(self.SERVER, refused)
        assert condition_result
        assert (condition_result.reason.value, condition_result.verdict) == (
            "RouteNotAccepted",
            Verdict.FAILING,
        )
        assert f"{reason} (in its own words)" in condition_result.message


async def test_a_server_that_the_class_leads_nobody_to_needs_nothing() -> None:
    world = World()
    assert await world.look(server({})) is None
    assert world.api.calls == []
