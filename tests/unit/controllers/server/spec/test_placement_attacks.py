"""A team says where its server should be, in the ways that are open to it: nothing that is not its own changes."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.controllers.server.address.test_change import put_class, rules
from tests.unit.controllers.server.address.test_claims import Cluster
from tests.unit.controllers.server.test_reconciler import World
from tests.unit.examples import POSTGRES, S3, Manifest, plan_of, postgres_class, server, tracking_class
from tracking_operator.api.labels_and_annotations import RESOLVED_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.failures import Invalid
from tracking_operator.kube.objects import INGRESS, SECRET

BASE = Path(__file__).parents[5] / "manifests" / "base"
HOST_OF_CLASS = "mlflow.team-a.example.com"
CLASS: Manifest = {
    "naming": {"host": "{{ name }}.{{ namespace }}.example.com"},
    "access": {"ingress": {"className": "traefik"}},
    "limits": {"maxServersPerNamespace": 1},
}
GRAFANA: Manifest = {
    "className": "standard",
    "version": "3.17.2",
    "backendStore": "sqlite",
    "artifactStore": "volume",
    "host": "grafana.example.com",
    "path": "/login",
}
FOREIGN_ADDRESS: Manifest = {"host": "grafana.example.com", "path": "/login"}
FOREIGN: dict[str, list[object]] = {
    "className": ["", "other", "standard", None, 7],
    "version": ["3.16.1", "9.9.9", ""],
    "backendStore": ["sqlite", "postgres", "external", "none"],
    "artifactStore": ["volume", "s3", "external"],
    "host": ["grafana.example.com", "mlflow.team-b.example.com", "*", "a,b"],
    "path": ["/login", "/../b", "/", "no-slash"],
    "address": [FOREIGN_ADDRESS, {"host": "mlflow.team-b.example.com"}],
    "nextAddress": [FOREIGN_ADDRESS],
    "formerHost": ["grafana.example.com"],
    "database": [
        {"host": "pg.db.svc", "port": 5432, "name": "mlflow_team_b_mlflow_1a2b3c4d"},
        {"host": "pg.evil.example.com", "port": 5432, "name": "postgres"},
    ],
    "artifacts": [
        {"bucket": "ml-artifacts", "prefix": "team-b/mlflow"},
        {"bucket": "theirs", "prefix": "team-a/mlflow", "endpoint": "http://evil.example.com"},
    ],
}

claims = st.fixed_dictionaries(
    {}, optional={field: st.sampled_from(values) for field, values in FOREIGN.items()}
).map(json.dumps) | st.sampled_from(["", "{", "null", "[]", json.dumps(GRAFANA)])


def what_exists(world: World) -> Manifest:
    """All objects, without what counts writes and what is random in each of them: the values of Secrets."""
    counting = {"uid", "resourceVersion", "generation", "annotations"}
    found = {}
    for (kind, _, name), obj in world.api.objects.items():
        metadata = {key: value for key, value in obj["metadata"].items() if key not in counting}
        found[f"{kind}/{name}"] = obj | {"metadata": metadata}
        for values in ("data", "stringData"):
            if kind == SECRET and values in obj:
                found[f"{kind}/{name}"][values] = sorted(obj[values])
    return found


async def lived(claim: str | None, when: str) -> World:
    """A server from its creation over a restart, with a claim of its team at one time."""
    world = World()
    put_class(world, CLASS)
    for moment in ("at creation", "later", "after a restart"):
        if claim is not None and when == moment:
            world.edit({}, annotations={RESOLVED_ANNOTATION: claim})
        if moment == "after a restart":
            world.restart()
        await world.reconcile()
        await world.reconcile(resync=True)
    return world


class TestAnnotation:
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(claims, st.sampled_from(["at creation", "later", "after a restart"]))
    async def test_changes_nothing_whatever_it_says_and_whenever(self, claim: str, when: str) -> None:
        honest, hostile = await lived(None, when), await lived(claim, when)
        assert what_exists(hostile) == what_exists(honest)
        assert rules(hostile) == {HOST_OF_CLASS: ["/"]}
        assert RESOLVED_ANNOTATION not in hostile.resource["metadata"].get("annotations", {})

    async def test_gets_no_ingress_for_the_host_of_somebody_else(self) -> None:
        world = World()
        put_class(world, CLASS)
        world.edit({}, annotations={RESOLVED_ANNOTATION: json.dumps(GRAFANA)})
        await world.reconcile()
        assert "grafana" not in json.dumps(world.child(INGRESS))
        assert rules(world) == {HOST_OF_CLASS: ["/"]}

    async def test_gets_no_class_without_rules(self) -> None:
        world = World()
        put_class(world, CLASS)
        world.edit({}, annotations={RESOLVED_ANNOTATION: json.dumps(GRAFANA | {"className": ""})})
        await world.reconcile()
        assert world.resource["status"]["className"] == "standard"

    async def test_passes_no_limit_of_the_namespace(self) -> None:
        world = World()
        put_class(world, CLASS)
        world.edit({}, name="first", creationTimestamp="2025-01-01T10:00:00Z")
        world.edit({}, annotations={RESOLVED_ANNOTATION: json.dumps(GRAFANA)})
        world.watch()
        await world.loop.reconcile("team-a", "first", resync=False)
        await world.reconcile()
        assert world.condition("SpecValid") == ("False", "LimitExceeded")

    @pytest.mark.parametrize("field", ["database", "artifacts"])
    def test_claims_no_place_that_somebody_else_will_have(self, field: str) -> None:
        class_ = tracking_class({"postgres": POSTGRES, "s3": S3}, is_default=True)
        for foreign in FOREIGN[field]:
            record = GRAFANA | {"backendStore": "postgres", "artifactStore": "s3", field: foreign}
            claimed = plan_of(server(annotations={RESOLVED_ANNOTATION: json.dumps(record)}), class_)
            assert claimed.placement == plan_of(server(), class_).placement

    def test_wins_nobody_s_address_after_a_restart(self) -> None:
        cluster = Cluster()
        cluster.put_class({"naming": {"host": "{{ name }}.{{ namespace }}.example.com"}})
        cluster.put("victim", {}, created=5)
        assert not cluster.claim("victim")
        cluster.put("evil", {}, created=1)
        live = cluster.cache.get(TRACKING_SERVER, "evil", "mlflow")
        assert live
        record = json.dumps(GRAFANA | {"host": "mlflow.victim.example.com", "path": "/"})
        annotated = live["metadata"] | {"annotations": {RESOLVED_ANNOTATION: record}, "resourceVersion": "99"}
        cluster.cache.upsert(live | {"metadata": annotated})
        cluster.restart()
        assert not cluster.claim("evil")
        assert not cluster.claim("victim")


class TestPlacedEarlier:
    """What a class forbids today is forbidden to a server that was placed when it was not."""

    @staticmethod
    def placed_at(host: str) -> Manifest:
        return {"placement": GRAFANA | {"host": host, "path": "/"}}

    @pytest.mark.parametrize(
        ("permissions", "is_let_in"),
        [
            ({"hosts": ["*.team-a.example.com"]}, False),
            ({"hosts": []}, False),
            ({"hosts": ["*.example.com"]}, True),
            ({}, True),
        ],
    )
    def test_a_host_is_refused_that_is_covered_no_more(self, permissions: Manifest, is_let_in: bool) -> None:
        class_ = tracking_class(CLASS | {"permissions": permissions}, is_default=True)
        resource = server(status=self.placed_at("old.example.com"))
        if is_let_in:
            assert plan_of(resource, class_).model.access.wanted.host == "old.example.com"
            return
        with pytest.raises(Invalid, match=r"NotPermitted: The host 'old\.example\.com'.*permissions\.hosts"):
            plan_of(resource, class_)

    def test_the_host_of_the_template_is_always_permitted(self) -> None:
        class_ = tracking_class(CLASS | {"permissions": {"hosts": []}}, is_default=True)
        assert plan_of(server(status=self.placed_at(HOST_OF_CLASS)), class_).placement.host == HOST_OF_CLASS

    @pytest.mark.parametrize(
        ("spec", "rule"),
        [
            ({"image": "theirs", "version": "3.17.2"}, {"permissions": {"customImages": False}}),
            ({"deletionPolicy": "Delete"}, {"permissions": {"deletionPolicyDelete": False}}),
            ({"backendStore": {"sqlite": {}}, "replicas": 3}, {"limits": {"maxReplicas": 2}}),
            ({}, {"allowedNamespaces": {"matchLabels": {"mlflow": "true"}}}),
        ],
    )
    def test_every_other_rule_holds_for_it_too(self, spec: Manifest, rule: Manifest) -> None:
        created = plan_of(server(), postgres_class())
        later = server(spec, status={"placement": created.placement.as_kubernetes()})
        with pytest.raises(Invalid):
            plan_of(later, postgres_class(spec=rule))


def test_no_role_for_people_may_write_the_status() -> None:
    roles = yaml.safe_load_all((BASE / "user-roles.yaml").read_text())
    writing = {"create", "update", "patch", "delete", "deletecollection", "*"}
    for role in roles:
        for rule in role["rules"]:
            if {"trackingservers/status", "trackingservers/*", "*"} & set(rule["resources"]):
                assert not writing & set(rule["verbs"]), role["metadata"]["name"]
