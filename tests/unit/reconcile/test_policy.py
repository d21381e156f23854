"""What a class permits: each check lets through what is permitted, and says what is not, and why."""

import inspect
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import (
    EXTERNAL_BUCKET,
    EXTERNAL_DATABASE,
    SHARED_VOLUME,
    Manifest,
    plan_of,
    server,
    tracking_class,
)
from tracking_operator.api.conditions import Reason
from tracking_operator.api.kubernetes_types import LabelSelector
from tracking_operator.api.marks import RESOLVED_ANNOTATION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.backend_store.pool import (
    CONNECTIONS_BESIDE_PODS,
    CONNECTIONS_OF_PARENT,
    ENGINES_PER_WORKER,
)
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.reconcile import policy
from tracking_operator.reconcile.class_reconciler import class_finding
from tracking_operator.reconcile.policy import CHECKS, selects
from tracking_operator.resources.pod import build_pod_template
from tracking_operator.resources.server import PostgresBackend

ROLE = "eks.amazonaws.com/role-arn"
TOLERATION = {"key": "dedicated", "operator": "Exists"}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
REPLICATED: Manifest = {"backendStore": EXTERNAL_DATABASE, "artifactStore": SHARED_VOLUME}

NO_SCHEDULING = {"permissions": {"podTemplate": {"scheduling": False}}}
NO_ENV = {"permissions": {"podTemplate": {"env": False}}}
SCHEDULING = "permissions.podTemplate.scheduling"
ENV = "permissions.podTemplate.env"

PERMISSIONS: list[tuple[Manifest, Manifest, Manifest, str, str]] = [
    (
        {"image": "my/mlflow:1", "version": "3.17.2"},
        {"permissions": {"customImages": True}},
        {},
        "spec.image",
        "permissions.customImages",
    ),
    (
        {"backendStore": EXTERNAL_DATABASE},
        {},
        {"permissions": {"externalStores": False}},
        "spec.backendStore.external",
        "permissions.externalStores",
    ),
    (
        {"artifactStore": EXTERNAL_BUCKET},
        {},
        {"permissions": {"externalStores": False}},
        "spec.artifactStore.external",
        "permissions.externalStores",
    ),
    (
        {"deletionPolicy": "Delete"},
        {},
        {"permissions": {"deletionPolicyDelete": False}},
        "spec.deletionPolicy: Delete",
        "permissions.deletionPolicyDelete",
    ),
    (
        {"serviceAccount": {"annotations": {ROLE: "arn"}}},
        {"permissions": {"serviceAccountAnnotations": [ROLE]}},
        {},
        f"spec.serviceAccount.annotations['{ROLE}']",
        "permissions.serviceAccountAnnotations",
    ),
    (
        {"podTemplate": {"nodeSelector": {"a": "b"}}},
        {},
        NO_SCHEDULING,
        "spec.podTemplate.nodeSelector",
        SCHEDULING,
    ),
    (
        {"podTemplate": {"tolerations": [TOLERATION]}},
        {},
        NO_SCHEDULING,
        "spec.podTemplate.tolerations",
        SCHEDULING,
    ),
    ({"podTemplate": {"affinity": {}}}, {}, NO_SCHEDULING, "spec.podTemplate.affinity", SCHEDULING),
    (
        {"podTemplate": {"topologySpreadConstraints": [SPREAD]}},
        {},
        NO_SCHEDULING,
        "spec.podTemplate.topologySpreadConstraints",
        SCHEDULING,
    ),
    ({"podTemplate": {"env": [{"name": "A", "value": "b"}]}}, {}, NO_ENV, "spec.podTemplate.env ", ENV),
    (
        {"podTemplate": {"envFrom": [{"secretRef": {"name": "keys"}}]}},
        {},
        NO_ENV,
        "spec.podTemplate.envFrom",
        ENV,
    ),
    (
        {"podTemplate": {"priorityClassName": "high"}},
        {"permissions": {"podTemplate": {"priorityClassNames": ["high"]}}},
        {},
        "spec.podTemplate.priorityClassName 'high'",
        "permissions.podTemplate.priorityClassNames",
    ),
]


def refusal(spec: Manifest, class_spec: Manifest, **surroundings: object) -> Invalid:
    """What a server of the class hears that asks for this."""
    with pytest.raises(Invalid) as refused:
        plan_of(server(spec), tracking_class(class_spec, is_default=True), **surroundings)  # type: ignore[arg-type]
    return refused.value


@pytest.mark.parametrize(
    ("spec", "generous", "strict", "field", "permission"), PERMISSIONS, ids=[case[3] for case in PERMISSIONS]
)
class TestPermissions:
    def test_lets_through_what_is_permitted(
        self, spec: Manifest, generous: Manifest, strict: Manifest, field: str, permission: str
    ) -> None:
        assert plan_of(server(spec), tracking_class(generous, is_default=True))

    def test_names_the_field_and_the_permission_that_is_missing(
        self, spec: Manifest, generous: Manifest, strict: Manifest, field: str, permission: str
    ) -> None:
        refused = refusal(spec, strict)
        assert refused.reason is Reason.NOT_PERMITTED
        assert refused.message == (
            f"{field.strip()} is not permitted by {permission} of class 'standard': "
            "remove it, or ask the platform team."
        )


def test_a_team_hears_of_everything_at_once() -> None:
    spec = {
        "image": "my/mlflow:1",
        "version": "3.17.2",
        "deletionPolicy": "Delete",
        "podTemplate": {"priorityClassName": "high"},
    }
    message = refusal(spec, {"permissions": {"deletionPolicyDelete": False}}).message
    assert all(part in message for part in ("spec.image", "spec.deletionPolicy", "priorityClassName"))
    assert message.count("is not permitted") == 3


def test_an_empty_specification_is_permitted_by_every_class() -> None:
    nothing = {
        "permissions": {
            "externalStores": False,
            "deletionPolicyDelete": False,
            "podTemplate": {"scheduling": False, "env": False},
        }
    }
    assert plan_of(server(), tracking_class(nothing, is_default=True))


def test_every_check_is_in_the_chain() -> None:
    signature = {"request": policy.Request, "return": Iterator[policy.Objection]}
    checks = {
        value
        for value in vars(policy).values()
        if inspect.isfunction(value) and inspect.get_annotations(value) == signature
    }
    assert set(CHECKS) == checks
    assert len(CHECKS) == len(checks)


class TestReplicas:
    def test_up_to_the_limit_are_granted(self) -> None:
        class_ = tracking_class({"limits": {"maxReplicas": 3}}, is_default=True)
        assert plan_of(server(REPLICATED | {"replicas": 3}), class_).model.replicas == 3

    def test_above_the_limit_are_refused(self) -> None:
        refused = refusal(REPLICATED | {"replicas": 4}, {"limits": {"maxReplicas": 3}})
        assert refused.reason is Reason.LIMIT_EXCEEDED
        assert "spec.replicas is 4, but class 'standard' allows 3" in refused.message

    @pytest.mark.parametrize(
        "stores",
        [
            {},
            {"backendStore": EXTERNAL_DATABASE},
            {"artifactStore": SHARED_VOLUME},
            {"backendStore": {"sqlite": {}}, "artifactStore": EXTERNAL_BUCKET},
        ],
    )
    def test_more_than_one_need_stores_that_pods_can_share(self, stores: Manifest) -> None:
        refused = refusal(stores | {"replicas": 2}, {})
        assert refused.reason is Reason.INVALID_SPEC
        assert "set spec.replicas to 1" in refused.message

    def test_of_a_suspended_server_are_not_counted(self) -> None:
        assert plan_of(server({"replicas": 5, "suspend": True})).model.replicas == 0

    def test_that_the_class_defaults_to_are_used(self) -> None:
        class_ = tracking_class({"defaults": {"replicas": 2, "workers": 3}}, is_default=True)
        model = plan_of(server(REPLICATED), class_).model
        assert (model.replicas, model.workers) == (2, 3)


class TestConnections:
    """All pods of a server together, one more while they roll, stay below the limit of its login."""

    @staticmethod
    def postgres(limit: int | None = None, maximum: int | None = None) -> TrackingServerClass:
        offer: Manifest = {"host": "pg.db.svc", "adminSecretRef": {"name": "pg-admin"}}
        if limit is not None:
            offer["connectionLimit"] = limit
        limits = {} if maximum is None else {"maxConnections": maximum}
        return tracking_class({"postgres": offer, "limits": limits}, is_default=True)

    @staticmethod
    def spec(limit: int | None = None, **fields: object) -> Manifest:
        asked = {} if limit is None else {"connectionLimit": limit}
        return {"backendStore": {"postgres": asked}, "artifactStore": EXTERNAL_BUCKET, **fields}

    @pytest.mark.parametrize(
        ("fields", "limit", "fits"),
        [
            ({}, None, True),
            ({"replicas": 2}, None, True),
            ({"replicas": 2}, 20, True),
            ({"replicas": 2}, 19, False),
            ({"replicas": 3}, 25, False),
            ({"replicas": 5}, None, True),
            ({"replicas": 6}, None, False),
            ({"replicas": 3}, 26, True),
            ({"workers": 2}, 22, True),
            ({"workers": 2}, 21, False),
            ({"workers": 4, "replicas": 3}, 74, True),
            ({"workers": 4, "replicas": 3}, 73, False),
            ({"replicas": 0}, 14, True),
            ({"replicas": 0}, 13, False),
            ({"replicas": 6, "suspend": True}, None, False),
        ],
    )
    def test_are_enough_for_so_many_pods_and_workers(
        self, fields: Manifest, limit: int | None, fits: bool
    ) -> None:
        asked = server(self.spec(limit, **fields))
        if fits:
            assert plan_of(asked, self.postgres())
            return
        with pytest.raises(Invalid) as refused:
            plan_of(asked, self.postgres())
        assert refused.value.reason is Reason.CONNECTION_BUDGET_TOO_SMALL

    def test_that_are_too_few_are_refused_with_the_number_that_is_enough(self) -> None:
        with pytest.raises(Invalid) as refused:
            plan_of(server(self.spec(20, replicas=3)), self.postgres())
        assert refused.value.message == (
            "3 replicas (and 1 more while they roll) with 1 worker each need at least 26 database connections, and "
            "connectionLimit is 20: raise it to 26 or more, or lower replicas or workers."
        )
        assert plan_of(server(self.spec(26, replicas=3)), self.postgres())

    @pytest.mark.parametrize(
        ("asked", "of_class", "counts"), [(None, None, 40), (None, 30, 30), (30, 50, 30), (50, None, 50)]
    )
    def test_are_the_servers_own_number_else_that_of_the_class_else_forty(
        self, asked: int | None, of_class: int | None, counts: int
    ) -> None:
        store = plan_of(server(self.spec(asked)), self.postgres(of_class)).model.backend_store
        assert isinstance(store, PostgresBackend)
        assert store.connection_limit == counts

    def test_up_to_the_limit_of_the_class_are_granted(self) -> None:
        assert plan_of(server(self.spec(60)), self.postgres(maximum=60))

    def test_above_the_limit_of_the_class_are_refused(self) -> None:
        with pytest.raises(Invalid) as refused:
            plan_of(server(self.spec(61)), self.postgres(maximum=60))
        assert refused.value.reason is Reason.LIMIT_EXCEEDED
        assert refused.value.message == (
            "spec.backendStore.postgres.connectionLimit is 61, but class 'standard' allows 60: ask for fewer."
        )

    @pytest.mark.parametrize("store", [{"sqlite": {}}, EXTERNAL_DATABASE])
    def test_of_another_backend_store_are_nobodys_business(self, store: Manifest) -> None:
        asked = server({"backendStore": store, "workers": 32})
        assert plan_of(asked, self.postgres(limit=1, maximum=1))

    @given(
        limit=st.integers(1, 300),
        replicas=st.integers(0, 6),
        workers=st.integers(1, 6),
        suspend=st.booleans(),
    )
    def test_that_pods_are_told_to_keep_are_never_more_than_the_limit(
        self, limit: int, replicas: int, workers: int, suspend: bool
    ) -> None:
        asked = server(self.spec(limit, replicas=replicas, workers=workers, suspend=suspend))
        try:
            model = plan_of(asked, self.postgres()).model
        except Invalid as refused:
            assert refused.reason is Reason.CONNECTION_BUDGET_TOO_SMALL
            return
        (container,) = build_pod_template(model)["spec"]["containers"]
        told = {variable["name"]: variable.get("value") for variable in container["env"]}
        pool = int(told["MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"])
        pods = max(1, replicas) + 1
        per_pod = CONNECTIONS_OF_PARENT + workers * ENGINES_PER_WORKER * pool
        assert pods * per_pod + CONNECTIONS_BESIDE_PODS <= limit


class TestResources:
    LIMITS: ClassVar[Manifest] = {"limits": {"maxResources": {"cpu": "2", "memory": "4Gi"}}}

    @pytest.mark.parametrize(
        "asked",
        [
            {"limits": {"memory": "4Gi"}},
            {"limits": {"memory": "4096Mi", "cpu": "2000m"}},
            {"requests": {"cpu": "2"}},
            {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
        ],
    )
    def test_up_to_the_limit_are_granted_whatever_the_unit(self, asked: Manifest) -> None:
        assert plan_of(server({"resources": asked}), tracking_class(self.LIMITS, is_default=True))

    @pytest.mark.parametrize(
        ("asked", "named"),
        [
            ({"limits": {"memory": "5Gi"}}, "spec.resources.limits.memory is 5Gi"),
            ({"requests": {"cpu": "2001m"}}, "spec.resources.requests.cpu is 2001m"),
        ],
    )
    def test_above_the_limit_are_refused(self, asked: Manifest, named: str) -> None:
        refused = refusal({"resources": asked}, self.LIMITS)
        assert refused.reason is Reason.LIMIT_EXCEEDED
        assert named in refused.message

    def test_that_many_workers_need_count_as_well(self) -> None:
        assert "limits.memory" in refusal({"workers": 32}, self.LIMITS).message


class TestNamespaces:
    CLASS: ClassVar[Manifest] = {"allowedNamespaces": {"matchLabels": {"mlflow": "true"}}}

    def test_that_the_class_selects_are_served(self) -> None:
        class_ = tracking_class(self.CLASS, is_default=True)
        assert plan_of(server(), class_, namespace_labels={"mlflow": "true", "other": "x"})

    @pytest.mark.parametrize("labels", [{}, {"mlflow": "false"}])
    def test_that_it_does_not_select_are_refused(self, labels: dict[str, str]) -> None:
        refused = refusal({}, self.CLASS, namespace_labels=labels)
        assert refused.reason is Reason.NAMESPACE_NOT_ALLOWED
        assert "class 'standard' is not for namespace 'team-a'" in refused.message

    @pytest.mark.parametrize(
        ("operator", "values", "labels", "expected"),
        [
            ("In", ["a", "b"], {"k": "a"}, True),
            ("In", ["a", "b"], {"k": "c"}, False),
            ("In", ["a"], {}, False),
            ("NotIn", ["a"], {"k": "b"}, True),
            ("NotIn", ["a"], {"k": "a"}, False),
            ("NotIn", ["a"], {}, True),
            ("Exists", [], {"k": ""}, True),
            ("Exists", [], {}, False),
            ("DoesNotExist", [], {}, True),
            ("DoesNotExist", [], {"k": ""}, False),
        ],
    )
    def test_expressions_mean_what_they_mean_to_kubernetes(
        self, operator: str, values: list[str], labels: dict[str, str], expected: bool
    ) -> None:
        expression = {"key": "k", "operator": operator, "values": values}
        selector = LabelSelector.model_validate({"matchExpressions": [expression]})
        assert selects(selector, labels) is expected

    def test_an_empty_selector_selects_all(self) -> None:
        assert selects(LabelSelector(), {})

    def test_that_are_being_deleted_get_nothing_new_and_are_looked_at_later(self) -> None:
        with pytest.raises(Waiting, match="Namespace 'team-a' is being deleted") as waiting:
            plan_of(server(), namespace_is_terminating=True)
        assert waiting.value.reason is Reason.NAMESPACE_TERMINATING
        assert waiting.value.retry_after


class TestVersions:
    OFFER: ClassVar[Manifest] = {
        "mlflow": {
            "versions": [
                {"version": "3.17.2", "image": "registry/mlflow:3.17.2"},
                {"version": "3.9.0", "image": "registry/mlflow:3.9.0"},
            ]
        }
    }

    def test_on_offer_come_with_their_image(self) -> None:
        model = plan_of(server({"version": "3.9.0"}), tracking_class(self.OFFER, is_default=True)).model
        assert (model.version, model.image) == ("3.9.0", "registry/mlflow:3.9.0")

    def test_not_on_offer_are_refused_with_those_that_are(self) -> None:
        refused = refusal({"version": "3.18.0"}, self.OFFER)
        assert refused.reason is Reason.VERSION_NOT_OFFERED
        assert refused.message == (
            "MLflow 3.18.0 is not offered by class 'standard': set spec.version to one of 3.9.0, 3.17.2."
        )

    def test_without_a_class_are_those_of_our_own_image(self) -> None:
        assert plan_of(server()).model.image == "tracking-operator/mlflow:3.17.2"

    def test_of_an_image_of_ones_own_are_what_the_team_says(self) -> None:
        class_ = tracking_class({"permissions": {"customImages": True}}, is_default=True)
        model = plan_of(server({"image": "my/mlflow:1", "version": "3.17.2"}), class_).model
        assert (model.version, model.image) == ("3.17.2", "my/mlflow:1")

    @pytest.mark.parametrize("wanted", ["3.17.2", "3.20.0"])
    def test_may_rise_or_stay(self, wanted: str) -> None:
        offer = {"mlflow": {"versions": [{"version": wanted, "image": "mlflow"}]}}
        upgraded = server({"version": wanted}, status={"version": "3.17.2"})
        assert plan_of(upgraded, tracking_class(offer, is_default=True)).model.version == wanted

    def test_may_not_fall_below_what_the_data_was_brought_up_to(self) -> None:
        downgraded = server({"version": "3.9.0"}, status={"version": "3.17.2"})
        with pytest.raises(Invalid, match=r"DowngradeRefused: spec\.version 3\.9\.0 is older than 3\.17\.2"):
            plan_of(downgraded, tracking_class(self.OFFER, is_default=True))


class TestServersInANamespace:
    """`maxServersPerNamespace`: who holds a place keeps it; age, then UID, decides between new ones."""

    CLASS: ClassVar[Manifest] = {"limits": {"maxServersPerNamespace": 1}}

    @staticmethod
    def sibling(
        uid: str = "a",
        created: str = "2026-01-01T09:00:00Z",
        *,
        spec: Manifest | None = None,
        record: str | None = None,
    ) -> TrackingServer:
        annotations = {} if record is None else {RESOLVED_ANNOTATION: record}
        return server(
            spec, name=f"sibling-{uid}", uid=uid, creationTimestamp=created, annotations=annotations
        )

    def is_let_in(self, one: TrackingServer, *siblings: TrackingServer, default: bool = True) -> bool:
        classes = [tracking_class(self.CLASS, is_default=default), tracking_class({}, "other")]
        try:
            plan_of(one, *classes, siblings=siblings)
        except Invalid as refused:
            assert refused.reason is Reason.LIMIT_EXCEEDED
            return False
        return True

    def test_an_older_server_comes_first(self) -> None:
        older, younger = self.sibling("b"), self.sibling("a", "2026-01-01T11:00:00Z")
        assert self.is_let_in(older, younger)
        assert not self.is_let_in(younger, older)

    def test_of_equally_old_ones_the_lower_uid_comes_first(self) -> None:
        low, high = self.sibling("a"), self.sibling("b")
        assert self.is_let_in(low, high)
        assert not self.is_let_in(high, low)

    def test_who_holds_a_place_keeps_it_although_an_older_one_wants_it(self) -> None:
        record = plan_of(server(), tracking_class(self.CLASS, is_default=True)).decision.to_annotation()
        holder = self.sibling("b", "2026-01-01T11:00:00Z", record=record)
        older = self.sibling("a")
        assert self.is_let_in(holder, older)
        assert not self.is_let_in(older, holder)

    def test_servers_of_another_class_do_not_count(self) -> None:
        other = self.sibling("a", spec={"className": "other"})
        assert self.is_let_in(self.sibling("b"), other)

    def test_a_new_server_that_names_no_class_counts_for_the_default_class_only(self) -> None:
        undecided = self.sibling("a")
        named = self.sibling("b", spec={"className": "standard"})
        assert not self.is_let_in(named, undecided, default=True)
        assert self.is_let_in(named, undecided, default=False)

    def test_a_sibling_with_a_broken_record_counts_and_breaks_nobody_else(self) -> None:
        broken = self.sibling("a", record="nonsense")
        assert not self.is_let_in(self.sibling("b"), broken)

    def test_the_sentence_says_how_many_there_are(self) -> None:
        refused = refusal({}, self.CLASS, siblings=[self.sibling("a")])
        assert "Namespace 'team-a' has 1 older servers and class 'standard' allows 1" in refused.message


INGRESS: Manifest = {"naming": {"host": "own.example.com"}, "access": {"ingress": {}}}
GATEWAY: Manifest = {
    "naming": {"host": "own.example.com"},
    "access": {"gateway": {"parentRef": {"name": "public"}}},
}
LOGIN: Manifest = {"access": {"authentication": {"basic": {}}}}
NO_LOGIN: Manifest = {"access": {"authentication": {"none": {}}}}


class TestAccess:
    @pytest.mark.parametrize(
        ("pattern", "host", "expected"),
        [
            ("ml.example.com", "ml.example.com", True),
            ("ml.example.com", "other.example.com", False),
            ("*.example.com", "ml.example.com", True),
            ("*.example.com", "a.ml.example.com", False),
            ("*.example.com", "example.com", False),
            ("*.example.com", "ml.example.org", False),
            ("*.example.com", "mlexample.com", False),
        ],
    )
    def test_a_star_stands_for_one_label(self, pattern: str, host: str, *, expected: bool) -> None:
        assert policy.matches_host(pattern, host) is expected

    @pytest.mark.parametrize("offer", [INGRESS, GATEWAY], ids=["ingress", "gateway"])
    def test_where_the_class_leads_to_its_servers_its_hosts_count(self, offer: Manifest) -> None:
        plan_of(server({"access": {"host": "own.example.com"}}), tracking_class(offer, is_default=True))
        with pytest.raises(Invalid) as refusal:
            plan_of(server({"access": {"host": "ml.example.com"}}), tracking_class(offer, is_default=True))
        assert refusal.value.reason is Reason.NOT_PERMITTED
        assert (
            "spec.access.host 'ml.example.com' is not permitted by permissions.hosts" in refusal.value.message
        )
        permitted = offer | {"permissions": {"hosts": ["*.example.com"]}}
        plan_of(server({"access": {"host": "ml.example.com"}}), tracking_class(permitted, is_default=True))

    def test_where_it_does_not_a_team_may_name_any_host_unless_the_class_says_which(self) -> None:
        asked = server({"access": {"host": "ml.example.com"}})
        plan_of(asked)
        with pytest.raises(Invalid, match=r"permissions\.hosts"):
            plan_of(asked, tracking_class({"permissions": {"hosts": []}}, is_default=True))

    @pytest.mark.parametrize(
        "offer", [{"ingress": {}}, {"gateway": {"parentRef": {"name": "public"}}}], ids=str
    )
    def test_a_way_in_needs_a_host(self, offer: Manifest) -> None:
        with pytest.raises(
            Invalid, match=r"set spec\.access\.host, or ask the platform team to set naming\.host"
        ):
            plan_of(server(), tracking_class({"access": offer}, is_default=True))
        public = {"access": offer | {"publicURL": "http://localhost:7006"}}
        plan_of(server(), tracking_class(public, is_default=True))

    def test_opening_a_server_for_everybody_needs_the_permission(self) -> None:
        asked = server(NO_LOGIN)
        plan_of(asked)
        plan_of(asked, tracking_class(NO_LOGIN, is_default=True))
        with pytest.raises(
            Invalid, match=r"spec\.access\.authentication\.none is not permitted by permissions\.anony"
        ):
            plan_of(asked, tracking_class(LOGIN, is_default=True))
        permitted = LOGIN | {"permissions": {"anonymousAccess": True}}
        plan_of(asked, tracking_class(permitted, is_default=True))

    @pytest.mark.parametrize(
        ("offer", "field"),
        [
            ({"ingress": {}, "publicURL": "mlflow.example.com"}, "access.publicURL"),
            ({"ingress": {}, "publicURL": "https://{{ host }}/path"}, "access.publicURL"),
            ({"ingress": {"tls": {"secretName": "{{ name }}_tls"}}}, "access.ingress.tls.secretName"),
            ({"ingress": {"tls": {"secretName": "{{ nothing }}"}}}, "access.ingress.tls.secretName"),
        ],
    )
    def test_a_broken_word_of_the_class_is_told(self, offer: Manifest, field: str) -> None:
        spec = {"naming": {"host": "own.example.com"}, "access": offer}
        with pytest.raises(Invalid, match=f"{field} of class 'standard' cannot be used") as refusal:
            plan_of(server(), tracking_class(spec, is_default=True))
        assert refusal.value.reason is Reason.INVALID_SPEC
        assert class_finding(tracking_class(spec)).message == refusal.value.message
