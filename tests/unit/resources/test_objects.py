"""The objects around the pods: who owns them, how they roll, what they are called."""

from dataclasses import replace

import pytest

from tests.unit.examples import (
    EXTERNAL_BUCKET,
    EXTERNAL_DATABASE,
    GOLDEN_SERVERS,
    SHARED_VOLUME,
    UID,
    Manifest,
    golden_plan,
    model,
    postgres_class,
    tracking_class,
)
from tracking_operator.resources import build_objects
from tracking_operator.resources.client_config_map import QUIET, build_client_config_map
from tracking_operator.resources.deployment import build_deployment
from tracking_operator.resources.encryption_secret import build_encryption_secret, new_keys
from tracking_operator.resources.labels import pod_selector, selector_text
from tracking_operator.resources.metadata import KEEP
from tracking_operator.resources.service import build_service

CLAIM = "PersistentVolumeClaim"


def objects(spec: Manifest | None = None) -> list[Manifest]:
    return build_objects(model(spec))


def names(spec: Manifest | None = None) -> list[str]:
    return [f"{obj['kind']}/{obj['metadata']['name']}" for obj in objects(spec)]


def test_an_empty_specification_becomes_a_whole_server() -> None:
    assert names() == [
        "ServiceAccount/mlflow",
        "NetworkPolicy/mlflow",
        "PersistentVolumeClaim/mlflow-backend-store",
        "PersistentVolumeClaim/mlflow-artifact-store",
        "Deployment/mlflow",
        "Service/mlflow",
        "ConfigMap/mlflow-client",
    ]


def test_external_stores_need_no_volume() -> None:
    spec = {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}
    assert not [name for name in names(spec) if name.startswith(CLAIM)]


@pytest.mark.parametrize("case", GOLDEN_SERVERS)
def test_volume_claims_have_no_owner_so_that_nothing_collects_the_data(case: str) -> None:
    for obj in build_objects(golden_plan(case).model):
        assert (obj["kind"] == CLAIM) == ("ownerReferences" not in obj["metadata"])


def test_everything_else_goes_with_its_server() -> None:
    for obj in objects():
        if obj["kind"] != CLAIM:
            (reference,) = obj["metadata"]["ownerReferences"]
            assert reference["uid"] == UID
            assert reference["controller"] is True


@pytest.mark.parametrize("case", GOLDEN_SERVERS)
def test_every_object_can_be_found_by_its_server(case: str) -> None:
    for obj in build_objects(golden_plan(case).model):
        assert (
            obj["metadata"]["labels"].items()
            >= {
                "app.kubernetes.io/name": "mlflow",
                "app.kubernetes.io/managed-by": "tracking-operator",
                "tracking-operator.dev/tracking-server": "mlflow",
            }.items()
        )


@pytest.mark.parametrize("case", GOLDEN_SERVERS)
def test_what_is_kept_belongs_to_no_application_and_says_that_it_stays(case: str) -> None:
    server = golden_plan(case).model
    kept = build_encryption_secret(server, new_keys(lambda: "key"))
    for obj in [*build_objects(server), kept]:
        metadata = obj["metadata"]
        is_kept = "ownerReferences" not in metadata
        assert (metadata["labels"].get("app.kubernetes.io/instance") is None) is is_kept
        assert (metadata.get("annotations", {}).items() >= KEEP.items()) is is_kept


STRATEGIES = [
    ("SQLite and a volume", {}, "Recreate"),
    ("SQLite and a bucket", {"artifactStore": EXTERNAL_BUCKET}, "Recreate"),
    ("a database and a volume of one node", {"backendStore": EXTERNAL_DATABASE}, "Recreate"),
    (
        "a database and a volume of one pod",
        {
            "backendStore": EXTERNAL_DATABASE,
            "artifactStore": {"volume": {"accessMode": "ReadWriteOncePod"}},
        },
        "Recreate",
    ),
    (
        "a database and a shared volume",
        {"backendStore": EXTERNAL_DATABASE, "artifactStore": SHARED_VOLUME},
        "RollingUpdate",
    ),
    (
        "a database and a bucket",
        {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET},
        "RollingUpdate",
    ),
    ("SQLite and a shared volume", {"artifactStore": SHARED_VOLUME}, "Recreate"),
    ("PostgreSQL and a volume of one node", {"backendStore": {"postgres": {}}}, "Recreate"),
    (
        "PostgreSQL and a shared volume",
        {"backendStore": {"postgres": {}}, "artifactStore": SHARED_VOLUME},
        "RollingUpdate",
    ),
    (
        "PostgreSQL and a bucket",
        {"backendStore": {"postgres": {}}, "artifactStore": EXTERNAL_BUCKET},
        "RollingUpdate",
    ),
]


@pytest.mark.parametrize(
    ("spec", "strategy"), [case[1:] for case in STRATEGIES], ids=[name for name, *_ in STRATEGIES]
)
def test_pods_are_replaced_one_after_the_other_only_where_a_volume_demands_it(
    spec: Manifest, strategy: str
) -> None:
    classes = [postgres_class()] if "postgres" in spec.get("backendStore", {}) else []
    assert build_deployment(model(spec, *classes))["spec"]["strategy"]["type"] == strategy


def test_a_database_of_ones_own_needs_no_volume() -> None:
    objects = build_objects(model({"artifactStore": EXTERNAL_BUCKET}, postgres_class()))
    assert not [obj for obj in objects if obj["kind"] == CLAIM]


def test_the_secret_and_the_job_of_a_database_come_in_an_order_of_their_own() -> None:
    """The Secret needs credentials, the Job ends before pods start: neither is built together with the rest."""
    kinds = {obj["kind"] for obj in build_objects(model({}, postgres_class()))}
    assert not kinds & {"Secret", "Job"}


def strategy(spec: Manifest, class_: Manifest | None = None) -> Manifest:
    shared = {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}
    classes = [tracking_class(class_, is_default=True)] if class_ else []
    found: Manifest = build_deployment(model(shared | spec, *classes))["spec"]["strategy"]
    return found


@pytest.mark.parametrize(
    ("of_server", "of_class", "unavailable"),
    [("StopFirst", "Surge", 1), (None, "StopFirst", 1), ("Surge", "StopFirst", 0), (None, None, 0)],
)
def test_a_server_or_its_class_can_have_an_old_pod_stopped_first(
    of_server: str | None, of_class: str | None, unavailable: int
) -> None:
    spec = {"podTemplate": {"rollout": {"strategy": of_server}}} if of_server else {}
    class_ = {"rollout": {"strategy": of_class}} if of_class else {}
    rolling = {"maxSurge": 1 - unavailable, "maxUnavailable": unavailable}
    assert strategy(spec, class_) == {"type": "RollingUpdate", "rollingUpdate": rolling}


def test_what_comes_first_changes_nothing_about_the_pods() -> None:
    stop_first = {"podTemplate": {"rollout": {"strategy": "StopFirst"}}}
    one, other = build_deployment(model({})), build_deployment(model(stop_first))
    assert one["spec"]["template"] == other["spec"]["template"]


def budget(spec: Manifest) -> Manifest | None:
    stores = {"backendStore": EXTERNAL_DATABASE, "artifactStore": SHARED_VOLUME}
    found = [one for one in build_objects(model(stores | spec)) if one["kind"] == "PodDisruptionBudget"]
    return found[0] if found else None


def test_several_pods_are_evicted_one_after_the_other() -> None:
    made = budget({"replicas": 2})
    assert made
    assert made["spec"]["maxUnavailable"] == 1
    labels = build_deployment(model({}))["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("spec", [{}, {"replicas": 1}, {"replicas": 3, "suspend": True}, {"replicas": 0}])
def test_a_single_pod_keeps_nobody_from_draining_its_node(spec: Manifest) -> None:
    assert budget(spec) is None


def spread(spec: Manifest) -> list[Manifest]:
    stores = {"backendStore": EXTERNAL_DATABASE, "artifactStore": SHARED_VOLUME}
    pod = build_deployment(model(stores | spec))["spec"]["template"]["spec"]
    return list(pod.get("topologySpreadConstraints", []))


def test_pods_that_may_be_several_are_kept_apart_however_many_there_are() -> None:
    found = spread({"replicas": 1})
    assert {one["topologyKey"] for one in found} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert {one["whenUnsatisfiable"] for one in found} == {"ScheduleAnyway"}
    assert spread({"replicas": 3}) == found


def test_what_the_team_says_of_their_spread_counts_alone() -> None:
    own = {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
    assert [one["topologyKey"] for one in spread({"podTemplate": {"topologySpreadConstraints": [own]}})] == [
        "rack"
    ]


def test_the_only_pod_of_a_server_is_not_kept_apart_from_itself() -> None:
    assert "topologySpreadConstraints" not in build_deployment(model({}))["spec"]["template"]["spec"]


def test_a_rolling_update_leaves_no_gap() -> None:
    spec = {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}
    rolling = build_deployment(model(spec))["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("asleep", [{"suspend": True}, {"replicas": 0}, {"suspend": True, "replicas": 3}])
def test_a_suspended_server_keeps_everything_but_its_pods(asleep: Manifest) -> None:
    stores = {"backendStore": EXTERNAL_DATABASE, "artifactStore": SHARED_VOLUME}
    assert names(stores | asleep) == names(stores)
    assert build_deployment(model(stores | asleep))["spec"]["replicas"] == 0


def test_suspending_changes_nothing_but_the_number_of_pods() -> None:
    awake, asleep = build_deployment(model()), build_deployment(model({"suspend": True}))
    assert awake["spec"]["template"] == asleep["spec"]["template"]


def test_the_service_leads_to_the_pods_of_this_server_only() -> None:
    service = build_service(model())["spec"]
    (port,) = service["ports"]
    assert (port["name"], port["port"], port["targetPort"]) == ("http", 80, "http")
    assert service["selector"] == pod_selector("mlflow")
    assert (
        service["selector"].items()
        <= build_deployment(model())["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_selector_is_the_one_for_ever() -> None:
    # A Deployment's selector is immutable: a change here breaks every server that exists.
    assert pod_selector("mlflow") == {
        "app.kubernetes.io/component": "server",
        "tracking-operator.dev/tracking-server": "mlflow",
    }
    assert selector_text(pod_selector("mlflow")) == (
        "app.kubernetes.io/component=server,tracking-operator.dev/tracking-server=mlflow"
    )


def test_clients_are_told_the_address_with_its_prefix_and_the_one_for_browsers() -> None:
    client = build_objects(golden_plan("host-and-path-of-a-class").model)[-1]
    assert client["data"] == {
        "MLFLOW_TRACKING_URI": "http://mlflow.team-a.svc/team-a/mlflow",
        "TRACKING_SERVER_URL": "http://mlflow.example.com/team-a/mlflow",
        "MLFLOW_PORT": "5000",
        **QUIET,
    }


def test_clients_say_nothing_that_leads_nowhere() -> None:
    assert QUIET == {"GIT_PYTHON_REFRESH": "quiet", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}


def test_only_a_service_called_mlflow_changes_what_mlflow_takes_for_its_port() -> None:
    server = replace(model(), name="tracking")
    assert "MLFLOW_PORT" not in build_client_config_map(server)["data"]


def test_volumes_are_as_large_and_of_the_class_that_was_asked_for() -> None:
    spec = {"backendStore": {"sqlite": {"size": "5Gi", "storageClassName": "fast"}}}
    claim = next(obj for obj in objects(spec) if obj["metadata"]["name"] == "mlflow-backend-store")
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "5Gi"}},
        "storageClassName": "fast",
    }


def test_a_volume_without_a_storage_class_leaves_the_choice_to_the_cluster() -> None:
    claim = next(obj for obj in objects() if obj["metadata"]["name"] == "mlflow-backend-store")
    assert "storageClassName" not in claim["spec"]
