"""From one address to another: both are served until the pods have changed, and only one rolling update is needed."""

import pytest

from dev.classes import generous
from tests.unit.controllers.live import PASSED, RUNNING, TRIED_OUT, pod
from tests.unit.controllers.server.test_reconciler import World, serving
from tests.unit.examples import Manifest
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, INGRESS, POD

OLD, NEW, THIRD = "mlflow.team-a.example.com", "new.example.com", "third.example.com"
CLASS: Manifest = {
    "naming": {"host": "{{ name }}.{{ namespace }}.example.com"},
    "access": {"ingress": {"className": "traefik"}},
    "permissions": {"hosts": ["*.example.com"]},
}


def put_class(world: World, spec: Manifest = CLASS) -> None:
    world.put(
        {
            "apiVersion": API_VERSION,
            "kind": "TrackingServerClass",
            "metadata": {
                "name": "standard",
                "annotations": {"tracking-operator.dev/is-default-class": "true"},
            },
            "spec": generous(spec),
        }
    )


async def settled(spec: Manifest | None = None) -> World:
    """A server of the class that serves."""
    world = World(spec)
    put_class(world)
    await world.reconcile()
    world.roll_out()
    world.put(world.child(INGRESS) | {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
    await world.reconcile()
    return world


async def moved(world: World, access: Manifest) -> None:
    """Ask for an address, and let the pods be replaced."""
    world.edit({"access": access})
    await world.reconcile()
    world.roll_out()
    await world.reconcile()


def rules(world: World) -> dict[str, list[str]]:
    return {
        rule["host"]: [path["path"] for path in rule["http"]["paths"]]
        for rule in world.child(INGRESS)["spec"]["rules"]
    }


def arguments(world: World) -> list[str]:
    found: list[str] = world.child(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def hosts(world: World) -> set[str]:
    (value,) = (one for one in arguments(world) if one.startswith("--allowed-hosts="))
    return {one for one in value.removeprefix("--allowed-hosts=").split(",") if one.endswith("example.com")}


def url(world: World) -> str:
    found: str = world.resource["status"]["url"]
    return found


def record(world: World) -> Manifest:
    found: Manifest = world.resource["status"]["placement"]
    return found


def news(world: World) -> list[str]:
    return [message for _, type_, reason, message in world.events.recorded if reason == "AddressChanging"]


class TestHost:
    async def test_that_changes_is_answered_beside_the_old_one_until_all_pods_know_it(self) -> None:
        world = await settled()
        world.edit({"access": {"host": NEW}})
        await world.reconcile()
        assert rules(world) == {OLD: ["/"], NEW: ["/"]}
        assert hosts(world) == {OLD, NEW}
        assert url(world) == f"http://{OLD}"

        world.roll_out()
        await world.reconcile()
        assert rules(world) == {NEW: ["/"]}
        assert url(world) == f"http://{NEW}"

    async def test_that_changes_needs_one_rolling_update(self) -> None:
        world = await settled()
        await moved(world, {"host": NEW})
        generation = world.child(DEPLOYMENT)["metadata"]["generation"]
        for _ in range(2):
            world.restart()
            await world.reconcile()
            assert world.api.writes == []
        assert generation == 2
        assert hosts(world) == {OLD, NEW}

    async def test_of_before_goes_with_the_next_rolling_update(self) -> None:
        world = await settled()
        await moved(world, {"host": NEW})
        world.edit({"access": {"host": NEW}, "workers": 2})
        await world.reconcile()
        assert hosts(world) == {NEW}
        world.roll_out()
        await world.reconcile()
        assert "formerHost" not in record(world)
        await world.reconcile()
        assert world.api.writes == []

    async def test_that_changes_back_before_the_pods_have_changed_is_where_it_was(self) -> None:
        world = await settled()
        world.edit({"access": {"host": NEW}})
        await world.reconcile()
        world.edit({})
        await world.reconcile()
        assert rules(world) == {OLD: ["/"]}
        assert hosts(world) == {OLD}
        assert record(world).keys().isdisjoint({"address", "nextAddress", "formerHost"})

    async def test_that_changes_twice_is_the_last_one(self) -> None:
        world = await settled()
        world.edit({"access": {"host": NEW}})
        await world.reconcile()
        world.edit({"access": {"host": THIRD}})
        await world.reconcile()
        assert rules(world) == {OLD: ["/"], THIRD: ["/"]}
        world.roll_out()
        await world.reconcile()
        assert url(world) == f"http://{THIRD}"

    async def test_that_changes_and_back_again_is_the_decided_one(self) -> None:
        world = await settled()
        await moved(world, {"host": NEW})
        await moved(world, {})
        assert url(world) == f"http://{OLD}"
        assert rules(world) == {OLD: ["/"]}
        assert "address" not in record(world)

    async def test_that_the_class_gives_later_is_adopted(self) -> None:
        world = World()
        put_class(world, {})
        await world.reconcile()
        world.roll_out()
        await world.reconcile()
        assert url(world) == "http://mlflow.team-a.svc"
        put_class(world)
        await world.reconcile()
        world.roll_out()
        await world.reconcile()
        assert url(world) == f"http://{OLD}"
        assert record(world)["host"] == OLD

    async def test_of_a_server_that_sleeps_changes_at_once(self) -> None:
        world = await settled({"suspend": True})
        world.edit({"suspend": True, "access": {"host": NEW}})
        await world.reconcile()
        assert url(world) == f"http://{NEW}"
        assert rules(world) == {NEW: ["/"]}


async def test_a_pod_that_is_about_to_stop_keeps_the_old_address_in_use() -> None:
    world = await settled()
    template = world.child(DEPLOYMENT)["spec"]["template"]
    old = pod(name="mlflow-0", check=PASSED, artifacts=TRIED_OUT, server=RUNNING)
    world.put(old | {"spec": old.get("spec", {}) | {"containers": template["spec"]["containers"]}})
    await moved(world, {"host": NEW})
    assert url(world) == f"http://{OLD}"
    assert rules(world) == {OLD: ["/"], NEW: ["/"]}
    world.api.objects.pop((POD, "team-a", "mlflow-0"))
    await world.reconcile()
    assert url(world) == f"http://{NEW}"


class TestPath:
    async def test_that_changes_is_the_pods_at_once_and_the_clients_once_they_are_replaced(self) -> None:
        world = await settled()
        world.edit({"access": {"path": "/team-a"}})
        await world.reconcile()
        assert "--static-prefix=/team-a" in arguments(world)
        assert rules(world) == {OLD: ["/", "/team-a"]}
        assert url(world) == f"http://{OLD}"
        assert client_uri(world) == "http://mlflow.team-a.svc"

        world.roll_out()
        await world.reconcile()
        assert rules(world) == {OLD: ["/team-a"]}
        assert url(world) == f"http://{OLD}/team-a"
        assert client_uri(world) == "http://mlflow.team-a.svc/team-a"

    async def test_that_changes_is_asked_for_at_the_address_that_is_in_use(self) -> None:
        world = await settled()
        await moved(world, {"path": "/team-a"})
        targets = [(target.url, target.host) for target, _ in world.servers.asked]
        assert targets[0] == ("http://mlflow.team-a.svc", OLD)
        assert targets[-1] == ("http://mlflow.team-a.svc/team-a", OLD)


def client_uri(world: World) -> str:
    found: str = world.child(CONFIG_MAP, "mlflow-client")["data"]["MLFLOW_TRACKING_URI"]
    return found


class TestNews:
    async def test_of_a_change_are_told_once_with_both_addresses(self) -> None:
        world = await settled()
        assert news(world) == []
        await moved(world, {"host": NEW, "path": "/team-a"})
        world.restart()
        await world.reconcile()
        (message,) = news(world)
        assert f"from http://{OLD} to http://{NEW}/team-a" in message
        assert "the old path answers 404" in message
        assert OLD in message.split("404")[1]

    async def test_of_a_host_speak_of_no_path(self) -> None:
        world = await settled()
        await moved(world, {"host": NEW})
        assert "404" not in news(world)[0]

    async def test_behind_a_public_url_name_the_hosts(self) -> None:
        world = World()
        naming = CLASS["naming"] | {"path": "/{{ namespace }}/{{ name }}"}
        access = CLASS["access"] | {"publicURL": "http://localhost:7006"}
        put_class(world, CLASS | {"naming": naming, "access": access})
        await world.reconcile()
        world.roll_out()
        await world.reconcile()
        await moved(world, {"host": NEW})
        assert f"from {OLD} to {NEW}" in news(world)[0]


async def test_a_server_behind_an_ingress_costs_nothing_once_it_is_settled() -> None:
    world = World()
    tls = {"ingress": {"className": "traefik", "tls": {"secretName": "certificate"}}}
    put_class(world, CLASS | {"access": tls})
    metadata = {"name": "certificate", "namespace": "team-a"}
    world.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    await world.reconcile()
    world.roll_out()
    world.put(world.child(INGRESS) | {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
    await world.reconcile()
    assert world.condition("Ready") == ("True", "AsExpected")
    assert world.condition("Exposed") == ("True", "Reachable")

    await world.reconcile()
    assert world.api.calls == []
    world.restart()
    await world.reconcile()
    assert world.api.writes == []
    assert len(world.servers.asked) == 2


class TestRefusal:
    @pytest.mark.parametrize(
        "access", [{"host": "mlflow.elsewhere.com"}, {"host": "a.b.example.com"}], ids=lambda one: one["host"]
    )
    async def test_leaves_the_server_at_its_old_address(self, access: Manifest) -> None:
        world = await settled()
        await moved(world, {"host": NEW, "path": "/a"})
        before = (rules(world), arguments(world), url(world), record(world))
        world.edit({"access": access})
        await world.reconcile()
        assert world.condition("SpecValid") == ("False", "NotPermitted")
        assert (rules(world), arguments(world), url(world), record(world)) == before
        assert world.api.writes == ["apply TrackingServer/status"]

    async def test_in_the_middle_of_a_move_stops_it_where_it_is(self) -> None:
        world = await settled()
        world.edit({"access": {"host": NEW}})
        await world.reconcile()
        world.edit({"access": {"host": "mlflow.elsewhere.com"}})
        await world.reconcile()
        assert rules(world) == {OLD: ["/"], NEW: ["/"]}
        assert hosts(world) == {OLD, NEW}
        assert url(world) == f"http://{OLD}"


async def test_a_server_without_access_has_no_trace_of_it() -> None:
    world = await serving()
    assert record(world).keys().isdisjoint({"address", "nextAddress", "formerHost"})
    assert (TRACKING_SERVER_CLASS, None, "standard") not in world.api.objects
