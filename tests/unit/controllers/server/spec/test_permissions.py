"""What a class permits: each check lets through what is permitted, and says what is not, and why."""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import (
    EXTERNAL_BUCKET,
    EXTERNAL_DATABASE,
    SETTINGS,
    SHARED_VOLUME,
    Manifest,
    placed,
    plan_of,
    server,
    tracking_class,
)
from tracking_operator.api.conditions import Reason
from tracking_operator.api.kubernetes_types import LabelSelector
from tracking_operator.api.labels_and_annotations import DEFAULT_CLASS_ANNOTATION, RESOLVED_ANNOTATION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import Limits, TrackingServerClass
from tracking_operator.controllers.server.plan import make_plan
from tracking_operator.controllers.server.spec import permissions as policy
from tracking_operator.controllers.server.spec.inputs import Inputs
from tracking_operator.controllers.server.spec.permissions import CHECKS, selects
from tracking_operator.controllers.server_class.reconciler import class_result
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.resources.pod.server_pod import build_pod_template
from tracking_operator.resources.stores.postgres import PostgresBackend

ROLE = "eks.amazonaws.com/role-arn"
TOLERATION = {"key": "dedicated", "operator": "Exists"}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
REPLICATED: Manifest = {"backendStore": EXTERNAL_DATABASE, "artifactStore": SHARED_VOLUME}

NO_KEYS = {"permissions": {"podTemplate": {"labels": [], "annotations": ["example.com/*"]}}}
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
        {"podTemplate": {"labels": {"team": "a"}}},
        {"permissions": {"podTemplate": {"labels": ["team"]}}},
        NO_KEYS,
        "spec.podTemplate.labels['team']",
        "permissions.podTemplate.labels",
    ),
    (
        {"podTemplate": {"annotations": {"prometheus.io/scrape": "true"}}},
        {"permissions": {"podTemplate": {"annotations": ["prometheus.io/*"]}}},
        NO_KEYS,
        "spec.podTemplate.annotations['prometheus.io/scrape']",
        "permissions.podTemplate.annotations",
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


def refusal(spec: Manifest, class_spec: Manifest, **inputs: object) -> Invalid:
    """What a server of the class hears that asks for this."""
    with pytest.raises(Invalid) as refused:
        plan_of(server(spec), tracking_class(class_spec, is_default=True), **inputs)  # type: ignore[arg-type]
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
        said = f"{field.strip()} is not permitted by {permission} of class 'standard'"
        assert refused.message in (
            f"{said}: remove it, or ask the platform team to set that to true.",
            f"{said}, which permits none: remove it, or ask the platform team to add it there.",
            f"{said}, which permits example.com/*: use that, or ask the platform team to add it there.",
        )


@pytest.mark.parametrize(
    ("spec", "permissions", "named"),
    [
        (
            {"podTemplate": {"labels": {"team": "a"}}},
            {"podTemplate": {"labels": ["cost-center", "example.com/*"]}},
            "which permits cost-center, example.com/*: use that",
        ),
        (
            {"podTemplate": {"priorityClassName": "high"}},
            {"podTemplate": {"priorityClassNames": ["low"]}},
            "which permits low: use that",
        ),
        (
            {"serviceAccount": {"annotations": {"a": "b"}}},
            {"serviceAccountAnnotations": [ROLE]},
            f"which permits {ROLE}: use that",
        ),
        (
            {"access": {"host": "ml.example.com"}},
            {"hosts": ["*.{{ namespace }}.example.com"]},
            "which permits *.team-a.example.com: use that",
        ),
    ],
)
def test_who_asks_for_another_value_than_is_permitted_hears_which_are(
    spec: Manifest, permissions: Manifest, named: str
) -> None:
    assert named in refusal(spec, {"permissions": permissions}).message


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


def silent_class() -> TrackingServerClass:
    """A class as it was stored before it had to say who is let in."""
    metadata = {"name": "silent", "annotations": {DEFAULT_CLASS_ANNOTATION: "true"}}
    return TrackingServerClass.model_validate({"metadata": metadata, "spec": {}})


@pytest.mark.parametrize(
    ("spec", "permission"),
    [(case[0], case[4]) for case in PERMISSIONS],
    ids=[case[3] for case in PERMISSIONS],
)
def test_a_class_that_says_nothing_permits_nothing(spec: Manifest, permission: str) -> None:
    with pytest.raises(Invalid, match=f"not permitted by {permission} of class 'silent'"):
        plan_of(server(spec), silent_class())


def test_a_class_that_says_nothing_asks_for_a_login() -> None:
    assert plan_of(server(), silent_class()).model.login
    with pytest.raises(Invalid, match=r"authentication\.none is not permitted"):
        plan_of(server(NO_LOGIN), silent_class())


class TestBuiltInClass:
    def test_serves_whoever_is_alone_on_a_cluster(self) -> None:
        plan = plan_of(server({"deletionPolicy": "Delete", "backendStore": EXTERNAL_DATABASE}))
        assert (plan.chosen.title, plan.model.login) == ("the built-in class", None)

    def test_can_be_switched_off(self) -> None:
        around = Inputs([tracking_class({}, "shared")], {}, namespace_is_terminating=False, siblings=[])
        settings = replace(SETTINGS, has_built_in_class=False)
        with pytest.raises(Invalid, match=r"set spec\.className to one of shared, or ask") as refused:
            make_plan(server(), around, settings)
        assert refused.value.reason is Reason.CLASS_NOT_FOUND
        assert make_plan(server({"className": "shared"}), around, settings)


def test_every_check_is_in_the_chain() -> None:
    signature = {"request": policy.PermissionRequest, "return": Iterator[policy.Objection]}
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
            ({"replicas": 2}, 14, True),
            ({"replicas": 2}, 13, False),
            ({"replicas": 3}, 17, False),
            ({"replicas": 3}, 18, True),
            ({"replicas": 6}, None, True),
            ({"replicas": 6}, 30, True),
            ({"workers": 2}, 14, True),
            ({"workers": 2}, 13, False),
            ({"workers": 4, "replicas": 3}, 42, True),
            ({"workers": 4, "replicas": 3}, 41, False),
            ({"replicas": 0}, 10, True),
            ({"replicas": 0}, 9, False),
            ({"replicas": 6, "suspend": True}, 29, False),
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
            plan_of(server(self.spec(17, replicas=3)), self.postgres())
        assert refused.value.message == (
            "3 replicas (and 1 more while they roll) with 1 worker each need at least 18 database connections, and "
            "connectionLimit is 17: raise it to 18 or more, or lower replicas or workers."
        )
        assert plan_of(server(self.spec(18, replicas=3)), self.postgres())

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
            "spec.backendStore.postgres.connectionLimit is 61, but class 'standard' allows 60: set it to 60 or fewer, or ask the "
            "platform team to raise limits.maxConnections."
        )

    @pytest.mark.parametrize(
        ("fields", "limit", "maximum", "remedy"),
        [
            ({"replicas": 50}, None, 60, "set it to 3 or fewer"),
            ({"replicas": 3, "workers": 16}, 61, 60, "set it to 60 or fewer"),
            (
                {"replicas": 3, "workers": 16},
                50,
                60,
                "60 database connections that class 'standard' allows: lower",
            ),
            ({"replicas": 3, "workers": 2}, 5, 300, "raise it to"),
        ],
    )
    def test_of_several_numbers_that_do_not_fit_the_one_remedy_helps(
        self, fields: Manifest, limit: int | None, maximum: int, remedy: str
    ) -> None:
        class_spec = {
            "postgres": {"host": "pg.db.svc", "adminSecretRef": {"name": "pg-admin"}},
            "limits": {"maxConnections": maximum, "maxReplicas": 3},
        }
        message = refusal(self.spec(limit, **fields), class_spec).message
        assert remedy in message
        assert message.count(": ") == 1

    @pytest.mark.parametrize("store", [{"sqlite": {}}, EXTERNAL_DATABASE])
    def test_of_another_backend_store_are_nobodys_business(self, store: Manifest) -> None:
        asked = server({"backendStore": store, "workers": 32})
        assert plan_of(asked, self.postgres(limit=1, maximum=1))

    @pytest.mark.parametrize(("replicas", "counts"), [(1, 40), (2, 40), (4, 62), (6, 86)])
    def test_grow_with_the_replicas_where_nobody_says_how_many(self, replicas: int, counts: int) -> None:
        store = plan_of(server(self.spec(replicas=replicas)), self.postgres()).model.backend_store
        assert isinstance(store, PostgresBackend)
        assert store.connection_limit == counts

    @given(
        limit=st.none() | st.integers(40, 300),
        workers=st.integers(1, 3),
        few=st.integers(1, 4),
        many=st.integers(1, 4),
    )
    def test_are_no_matter_of_the_pods_that_serve_when_their_number_changes(
        self, limit: int | None, workers: int, few: int, many: int
    ) -> None:
        """As `kubectl scale` and an autoscaler change it."""
        templates = []
        for replicas in (few, many):
            asked = server(self.spec(limit, replicas=replicas, workers=workers))
            try:
                templates.append(build_pod_template(plan_of(asked, self.postgres(maximum=300)).model))
            except Invalid as refused:
                assert refused.reason is Reason.CONNECTION_BUDGET_TOO_SMALL
                return
        assert templates[0] == templates[1]


UNREADABLE = ["64e-4294967287", "1e9223372036854775807", "NaN", "Infinity", "1_0", "\u0661"]
"""Stored before the CRDs refused the first two; the others are what Python takes for numbers, and Kubernetes does not."""


@pytest.mark.parametrize("size", UNREADABLE)
@pytest.mark.parametrize(("store", "member"), [("backendStore", "sqlite"), ("artifactStore", "volume")])
def test_a_size_that_cannot_be_read_is_refused_by_the_name_of_its_field(
    store: str, member: str, size: str
) -> None:
    refused = refusal({store: {member: {"size": size}}}, {})
    assert refused.reason is Reason.INVALID_SPEC
    assert f"spec.{store}.{member}.size cannot be read: {size!r} is not a" in refused.message


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

    @pytest.mark.parametrize("amount", UNREADABLE)
    @pytest.mark.parametrize("field", ["requests", "limits"])
    @pytest.mark.parametrize("name", ["cpu", "memory", "nvidia.com/gpu"])
    def test_that_cannot_be_read_are_refused_by_the_name_of_their_field(
        self, name: str, field: str, amount: str
    ) -> None:
        refused = refusal({"resources": {field: {name: amount}}}, self.LIMITS)
        assert refused.reason is Reason.INVALID_SPEC
        assert f"spec.resources.{field}.{name} cannot be read: {amount!r} is not a" in refused.message

    @pytest.mark.parametrize("amount", UNREADABLE)
    def test_of_the_class_that_cannot_be_read_are_named_as_its_own(self, amount: str) -> None:
        for class_spec, named in (
            (
                {"limits": {"maxResources": {"memory": amount}}},
                "limits.maxResources.memory of class 'standard'",
            ),
            (
                {"defaults": {"resources": {"limits": {"memory": amount}}}},
                "The class 'standard': defaults.resources.limits.memory",
            ),
        ):
            refused = refusal({}, class_spec)
            assert refused.reason is Reason.INVALID_SPEC
            assert f"{named} cannot be read" in refused.message
            assert "spec.resources" not in refused.message

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
        overwrite = " --overwrite" if labels else ""
        assert f"'kubectl label namespace team-a mlflow=true{overwrite}'" in refused.message

    @pytest.mark.parametrize(
        ("selector", "labels", "remedy"),
        [
            (
                {"matchLabels": {"tier": "gold", "mlflow": "true"}},
                {"mlflow": "true"},
                "label namespace team-a tier=gold'",
            ),
            (
                {"matchExpressions": [{"key": "stage", "operator": "In", "values": ["test", "live"]}]},
                {},
                "stage=test'",
            ),
            (
                {"matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]},
                {"old": ""},
                "old-'",
            ),
            ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, {}, "team=true'"),
            (
                {"matchLabels": {"kubernetes.io/metadata.name": "team-b"}},
                {"kubernetes.io/metadata.name": "team-a"},
                "to add the namespace's name to allowedNamespaces",
            ),
        ],
    )
    def test_that_are_refused_hear_what_has_them_selected(
        self, selector: Manifest, labels: dict[str, str], remedy: str
    ) -> None:
        assert remedy in refusal({}, {"allowedNamespaces": selector}, namespace_labels=labels).message

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
        assert plan_of(server()).model.image == "tracking-operator/mlflow:3.18.0"

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


class TestSilentClass:
    """A class that says nothing has limits all the same, and so has the built-in one."""

    TOO_MUCH: ClassVar[dict[str, Manifest]] = {
        "replicas": {
            "replicas": 11,
            "backendStore": EXTERNAL_DATABASE,
            "artifactStore": EXTERNAL_BUCKET,
        },
        "cpu": {"resources": {"limits": {"cpu": "9"}}},
        "memory": {"resources": {"requests": {"memory": "17Gi"}}},
    }

    @pytest.mark.parametrize("spec", TOO_MUCH.values(), ids=TOO_MUCH.keys())
    def test_a_server_may_not_ask_for_any_amount(self, spec: Manifest) -> None:
        permitting = {"permissions": {"externalStores": True}}
        for classes in ([tracking_class(permitting, is_default=True)], []):
            with pytest.raises(Invalid) as refused:
                plan_of(server(spec), *classes)
            assert refused.value.reason is Reason.LIMIT_EXCEEDED

    def test_a_namespace_may_not_have_any_number_of_servers(self) -> None:
        siblings = [TestServersInANamespace.sibling(f"a{number}") for number in range(10)]
        silent = tracking_class({}, is_default=True)
        silent = silent.updated(spec=silent.spec.updated(limits=Limits()))
        for classes in ([silent], []):
            with pytest.raises(Invalid) as refused:
                plan_of(server(uid="b"), *classes, siblings=siblings)
            assert refused.value.reason is Reason.LIMIT_EXCEEDED
            assert plan_of(server(uid="b"), *classes, siblings=siblings[1:])

    def test_a_server_may_not_have_any_number_of_connections(self) -> None:
        with pytest.raises(Invalid) as refused:
            plan_of(server(TestConnections.spec(201)), TestConnections.postgres())
        assert refused.value.reason is Reason.LIMIT_EXCEEDED

    def test_what_the_class_itself_gives_is_permitted(self) -> None:
        given: Manifest = {
            "defaults": {"replicas": 12},
            "permissions": {"externalStores": True},
        }
        assert plan_of(
            server({"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}),
            tracking_class(given, is_default=True),
        )
        assert plan_of(server(TestConnections.spec()), TestConnections.postgres(limit=500))


class TestServersInANamespace:
    """`maxServersPerNamespace`: who holds a place keeps it; age, then UID, decides between new ones."""

    CLASS: ClassVar[Manifest] = {"limits": {"maxServersPerNamespace": 1}}

    @staticmethod
    def sibling(
        uid: str = "a",
        created: str = "2026-01-01T09:00:00Z",
        *,
        spec: Manifest | None = None,
        status: Manifest | None = None,
        annotations: dict[str, str] | None = None,
    ) -> TrackingServer:
        return server(
            spec,
            name=f"sibling-{uid}",
            uid=uid,
            creationTimestamp=created,
            status=status,
            annotations=annotations or {},
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
        status = placed(plan_of(server(), tracking_class(self.CLASS, is_default=True)))
        holder = self.sibling("b", "2026-01-01T11:00:00Z", status=status)
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

    def test_a_place_does_not_pass_a_limit_that_was_lowered(self) -> None:
        status = placed(plan_of(server(), tracking_class({}, is_default=True)))
        older, younger = self.sibling("a", status=status), self.sibling("b", status=status)
        assert self.is_let_in(older, younger)
        assert not self.is_let_in(younger, older)

    def test_a_server_counts_for_the_class_that_it_is_placed_in_whatever_it_asks_for(self) -> None:
        status = placed(plan_of(server(), tracking_class(self.CLASS, is_default=True)))
        other = self.sibling("a", spec={"className": "other"}, status=status)
        assert not self.is_let_in(self.sibling("b"), other)

    def test_an_annotation_of_the_team_gives_no_place(self) -> None:
        claim = {RESOLVED_ANNOTATION: '{"className":"","version":"3.17.2"}'}
        older, younger = self.sibling("a"), self.sibling("b", annotations=claim)
        assert self.is_let_in(older, younger)
        assert not self.is_let_in(younger, older)

    def test_the_sentence_says_how_many_there_are(self) -> None:
        refused = refusal({}, self.CLASS, siblings=[self.sibling("a")])
        assert (
            "Namespace 'team-a' has 1 servers that come first and class 'standard' allows 1"
            in refused.message
        )


INGRESS: Manifest = {"naming": {"host": "{{ name }}.{{ namespace }}.example.com"}, "access": {"ingress": {}}}
GATEWAY: Manifest = {
    "naming": {"host": "{{ name }}.{{ namespace }}.example.com"},
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
        plan_of(
            server({"access": {"host": "mlflow.team-a.example.com"}}), tracking_class(offer, is_default=True)
        )
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
        public = {
            "naming": {"path": "/{{ namespace }}/{{ name }}"},
            "access": offer | {"publicURL": "http://localhost:7006"},
        }
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
        spec = {"naming": {"host": "{{ name }}.{{ namespace }}.example.com"}, "access": offer}
        with pytest.raises(Invalid, match=f"{field} of class 'standard' cannot be used") as refusal:
            plan_of(server(), tracking_class(spec, is_default=True))
        assert refusal.value.reason is Reason.INVALID_SPEC
        told = class_result(tracking_class(spec)).message
        assert told == refusal.value.message.replace("Ask the platform team to correct it.", "Correct it.")


class TestAddressesOfOtherNamespaces:
    """What the class's templates keep for another namespace, no tenant gets, whether a server is there or not."""

    OFFER: Manifest = INGRESS | {"permissions": {"hosts": ["*.team-a.example.com", "*.team-b.example.com"]}}

    def refused(self, access: Manifest, spec: Manifest) -> str:
        try:
            plan_of(server({"access": access}), tracking_class(spec, is_default=True))
        except Invalid as refusal:
            assert refusal.reason is Reason.NOT_PERMITTED
            return refusal.message
        return ""

    def test_a_pattern_that_covers_them_does_not_help(self) -> None:
        assert not self.refused({"host": "other.team-a.example.com"}, self.OFFER)
        for host in ("mlflow.team-b.example.com", "never-made.team-b.example.com"):
            assert "keeps for servers of another namespace" in self.refused({"host": host}, self.OFFER)
            assert self.refused({"host": host, "path": "/elsewhere"}, self.OFFER)

    @pytest.mark.parametrize("spec", [{"naming": INGRESS["naming"]}, INGRESS], ids=["no way in", "ingress"])
    def test_they_are_kept_where_any_host_is_permitted(self, spec: Manifest) -> None:
        anything = spec | {"permissions": {"hosts": ["*.team-b.example.com"]}}
        assert self.refused({"host": "x.team-b.example.com"}, anything)

    def test_a_path_on_the_host_of_all_is_kept_as_well(self) -> None:
        shared = {"naming": {"host": "mlflow.example.com", "path": "/{{ namespace }}/{{ name }}"}}
        for path in ("/team-a", "/team-a/other", "/team-a/mlflow/below"):
            assert not self.refused({"path": path}, shared)
        for path in ("/", "/team-b", "/team-b/mlflow", "/team-b/x/y", "/t"):
            assert self.refused({"path": path}, shared), path

    def test_the_public_url_counts_like_a_host(self) -> None:
        shared = {
            "naming": {"path": "/{{ namespace }}/{{ name }}"},
            "access": {"publicURL": "http://localhost:7006"},
        }
        assert not self.refused({"path": "/team-a/x", "host": "any.example.com"}, shared)
        assert self.refused({"path": "/team-b/x", "host": "any.example.com"}, shared)

    def test_a_pattern_may_be_a_template(self) -> None:
        spec = INGRESS | {"permissions": {"hosts": ["*.{{ namespace }}.example.com"]}}
        assert not self.refused({"host": "x.team-a.example.com"}, spec)
        assert "permissions.hosts" in self.refused({"host": "x.team-b.example.com"}, spec)

    def test_a_pattern_that_cannot_be_rendered_is_the_platform_team_s_matter(self) -> None:
        spec = INGRESS | {"permissions": {"hosts": ["*.{{ nothing }}.example.com"]}}
        with pytest.raises(Invalid, match=r"permissions\.hosts of class 'standard' cannot be used"):
            plan_of(
                server({"access": {"host": "x.team-a.example.com"}}), tracking_class(spec, is_default=True)
            )
