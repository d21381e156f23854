"""Whose an address is: who has it, then who is older, then by UID; and what becomes free again."""

import pytest

from tests.unit.examples import SETTINGS, Manifest, placed
from tests.unit.kube.counting_cache import CountingCache
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.address.claims import AddressClaims
from tracking_operator.controllers.server.context import ServerMemories
from tracking_operator.controllers.server.plan import make_plan
from tracking_operator.controllers.server.spec.inputs import inputs_of
from tracking_operator.failures import Invalid

HOST = "mlflow.example.com"


class Cluster:
    """Servers of several teams, and the operator's book of addresses."""

    def __init__(self) -> None:
        self.cache = CountingCache()
        self._version = 0
        self.restart()

    def restart(self) -> None:
        """Forget everything that is not in the cluster."""
        memories = ServerMemories(self.cache)
        self.book = AddressClaims(
            self.cache, SETTINGS.cluster_name, memories.address_of, has_built_in_class=True
        )

    def put(
        self, namespace: str, access: Manifest, *, name: str = "mlflow", created: int = 0, **spec: object
    ) -> None:
        """Write a server, or change it; ``created`` orders servers by age."""
        self._version += 1
        before = self.cache.get(TRACKING_SERVER, namespace, name) or {"metadata": {}}
        known = {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{namespace}-{name}",
            "creationTimestamp": f"2026-01-01T10:00:{created:02}Z",
        }
        metadata = known | before["metadata"] | {"resourceVersion": str(self._version)}
        self.cache.upsert(before | self._typed("TrackingServer", metadata, {"access": access, **spec}))

    def put_class(self, spec: Manifest) -> None:
        """Write the default class."""
        self._version += 1
        default = {"tracking-operator.dev/is-default-class": "true"}
        metadata = {"name": "standard", "annotations": default, "resourceVersion": str(self._version)}
        self.cache.upsert(self._typed("TrackingServerClass", metadata, spec))

    def claim(self, namespace: str, name: str = "mlflow") -> str:
        """Let the operator look at a server; returns why it is refused, or nothing."""
        live = self.cache.get(TRACKING_SERVER, namespace, name)
        assert live
        resource = TrackingServer.model_validate(live)
        try:
            plan = make_plan(resource, inputs_of(resource, self.cache), SETTINGS)
        except Invalid as failure:
            self.book.withdraw(resource)
            return failure.reason.value
        try:
            self.book.claim(resource, plan.model)
        except Invalid as conflict:
            assert conflict.reason is Reason.CONFLICT
            return conflict.message
        self._version += 1
        metadata = live["metadata"] | {"resourceVersion": str(self._version)}
        self.cache.upsert(live | {"metadata": metadata, "status": placed(plan)})
        return ""

    def delete(self, namespace: str) -> None:
        """Remove a server."""
        live = self.cache.get(TRACKING_SERVER, namespace, "mlflow")
        assert live
        self._version += 1
        self.cache.remove(live | {"metadata": live["metadata"] | {"resourceVersion": str(self._version)}})

    @staticmethod
    def _typed(kind: str, metadata: Manifest, spec: Manifest) -> Manifest:
        return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


class TestWhoHasIt:
    @pytest.mark.parametrize("path", ["/", "/a", "/a/b"])
    def test_keeps_it_against_one_that_is_older(self, cluster: Cluster, path: str) -> None:
        cluster.put("young", {"host": HOST, "path": "/a"}, created=5)
        assert not cluster.claim("young")
        cluster.put("old", {"host": HOST, "path": path}, created=1)
        refusal = cluster.claim("old")
        assert f"Path {path} of host {HOST} belongs to another server" in refusal
        assert "young" not in refusal

    def test_keeps_it_over_a_restart(self, cluster: Cluster) -> None:
        cluster.put("young", {"host": HOST}, created=5)
        assert not cluster.claim("young")
        cluster.put("old", {"host": HOST}, created=1)
        cluster.restart()
        assert "another server" in cluster.claim("old")
        assert not cluster.claim("young")

    def test_keeps_it_over_a_restart_although_a_newer_version_has_written_it(self, cluster: Cluster) -> None:
        cluster.put("young", {"host": HOST}, created=5)
        assert not cluster.claim("young")
        cluster.put("young", {"host": HOST}, created=5, replicas="as many as needed")
        cluster.put("old", {"host": HOST}, created=1)
        cluster.restart()
        assert "another server" in cluster.claim("old")

    def test_keeps_it_while_its_own_change_is_refused(self, cluster: Cluster) -> None:
        cluster.put("one", {"host": HOST})
        cluster.put("two", {"host": "two.example.com"})
        assert not cluster.claim("one")
        assert not cluster.claim("two")
        cluster.put("one", {"host": "two.example.com"})
        assert "another server" in cluster.claim("one")
        cluster.put("three", {"host": HOST})
        assert "another server" in cluster.claim("three")

    def test_keeps_it_when_its_class_is_gone(self, cluster: Cluster) -> None:
        cluster.put_class({})
        cluster.put("one", {"host": HOST}, className="standard")
        assert not cluster.claim("one")
        live = cluster.cache.list(TRACKING_SERVER)[0]
        assert live
        cluster.put("one", {"host": HOST}, className="gone")
        cluster.restart()
        cluster.put("two", {"host": HOST})
        assert "another server" in cluster.claim("two")

    def test_gives_it_up_by_going_elsewhere(self, cluster: Cluster) -> None:
        cluster.put("one", {"host": HOST})
        cluster.claim("one")
        cluster.put("two", {"host": HOST})
        assert cluster.claim("two")
        cluster.put("one", {"host": "elsewhere.example.com"})
        assert not cluster.claim("one")
        assert not cluster.claim("two")

    def test_gives_it_up_by_its_end(self, cluster: Cluster) -> None:
        cluster.put("one", {"host": HOST})
        cluster.claim("one")
        cluster.put("two", {"host": HOST})
        assert cluster.claim("two")
        cluster.delete("one")
        assert not cluster.claim("two")

    def test_shares_its_host_with_other_paths(self, cluster: Cluster) -> None:
        for namespace in ("a", "ab", "b"):
            cluster.put(namespace, {"host": HOST, "path": f"/{namespace}"})
            assert not cluster.claim(namespace)


class TestNobodyHasIt:
    def test_the_older_gets_it_whoever_is_looked_at_first(self, cluster: Cluster) -> None:
        cluster.put("young", {"host": HOST}, created=5)
        cluster.put("old", {"host": HOST}, created=1)
        assert "another server" in cluster.claim("young")
        assert not cluster.claim("old")

    def test_of_one_age_the_lower_uid_gets_it(self, cluster: Cluster) -> None:
        cluster.put("b", {"host": HOST})
        cluster.put("a", {"host": HOST})
        assert cluster.claim("b")
        assert not cluster.claim("a")

    def test_one_with_a_mistake_keeps_nobody_from_it(self, cluster: Cluster) -> None:
        cluster.put("young", {"host": HOST}, created=5)
        cluster.put("old", {"host": HOST}, created=1, version="9.9.9")
        assert cluster.claim("young")
        assert cluster.claim("old") == "VersionNotOffered"
        assert not cluster.claim("young")

    def test_one_that_waits_gets_it_before_a_younger_one(self, cluster: Cluster) -> None:
        cluster.put("holder", {"host": HOST}, created=9)
        cluster.claim("holder")
        cluster.put("old", {"host": HOST}, created=1)
        assert cluster.claim("old")
        cluster.put("young", {"host": HOST}, created=5)
        assert cluster.claim("young")
        cluster.delete("holder")
        assert "another server" in cluster.claim("young")
        assert not cluster.claim("old")


class TestPublicUrl:
    CLASS: Manifest = {  # noqa: RUF012 - never changed
        "naming": {"path": "/{{ namespace }}/{{ name }}"},
        "access": {"publicURL": "http://localhost:7006"},
    }

    def test_is_an_address_as_well(self, cluster: Cluster) -> None:
        cluster.put_class(self.CLASS)
        cluster.put("one", {"host": "one.example.com", "path": "/one/a"})
        cluster.put("one", {"host": "two.example.com", "path": "/one/a"}, name="other")
        assert not cluster.claim("one")
        refusal = cluster.claim("one", "other")
        assert "Path /one/a of host localhost belongs to another server" in refusal

    def test_is_known_after_a_restart(self, cluster: Cluster) -> None:
        cluster.put_class(self.CLASS)
        cluster.put("one", {"path": "/one/a"}, created=5)
        assert not cluster.claim("one")
        cluster.restart()
        cluster.put("one", {"path": "/one/a/b"}, name="older", created=1)
        assert cluster.claim("one", "older")


def test_servers_without_a_host_have_nothing_to_share(cluster: Cluster) -> None:
    for namespace in ("a", "b"):
        cluster.put(namespace, {})
        assert not cluster.claim(namespace)


def test_of_servers_on_the_same_host_only_those_whose_paths_overlap_are_looked_into(cluster: Cluster) -> None:
    """A plan of each of a thousand servers on one host must not open the other ones."""
    teams = [f"team-{number}" for number in range(20)]
    for team in teams:
        cluster.put(team, {"host": HOST, "path": f"/{team}"})
        assert not cluster.claim(team)
    assert opened_by_claim(cluster, "team-1") == []
    cluster.put("below", {"host": HOST, "path": "/team-1/below"})
    assert cluster.claim("below")
    assert opened_by_claim(cluster, "team-1") == ["below"]


def opened_by_claim(cluster: Cluster, namespace: str) -> list[str | None]:
    """The namespaces of the servers that a claim looks into."""
    live = cluster.cache.get(TRACKING_SERVER, namespace, "mlflow")
    resource = TrackingServer.model_validate(live)
    plan = make_plan(resource, inputs_of(resource, cluster.cache), SETTINGS)
    cluster.cache.opened.clear()
    cluster.book.claim(resource, plan.model)
    return [place[1] for place in cluster.cache.opened]
