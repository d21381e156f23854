"""What one empty TrackingServer becomes on a real API server, by an operator with its ServiceAccount's rights."""

from tests.mlflow_versions import NEWEST_VERSION
from tests.operator_fixtures import (
    CHILD_KINDS,
    OPERATOR_USER,
    OperatorCalls,
    RunningOperator,
    Team,
    a_class,
    condition_of,
)
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import FIELD_MANAGER, FINALIZER, SERVER_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE,
    KubeObject,
)
from tracking_operator.resources.client_config_map import QUIET

CHILDREN = {
    ("ServiceAccount", "mlflow"),
    ("PersistentVolumeClaim", "mlflow-backend-store"),
    ("PersistentVolumeClaim", "mlflow-artifact-store"),
    ("ConfigMap", "mlflow-client"),
    ("Deployment", "mlflow"),
    ("Service", "mlflow"),
    ("NetworkPolicy", "mlflow"),
}


def test_an_empty_specification_becomes_exactly_the_documented_children(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    server = team.made({})

    children = team.children()
    assert set(children) == CHILDREN
    for (kind, _), child in children.items():
        metadata = child["metadata"]
        labels = metadata["labels"]
        assert labels[SERVER_LABEL] == "mlflow"
        assert labels["app.kubernetes.io/name"] == "mlflow"
        assert labels["app.kubernetes.io/managed-by"] == FIELD_MANAGER
        assert labels["app.kubernetes.io/component"]
        owners = metadata.get("ownerReferences", [])
        if kind == "PersistentVolumeClaim":
            assert owners == [], "a claim outlives its server"
            assert "app.kubernetes.io/instance" not in labels, "no Argo CD Application takes it for its own"
            assert metadata["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
        else:
            assert labels["app.kubernetes.io/instance"] == "mlflow"
            assert [(owner["uid"], owner["controller"]) for owner in owners] == [
                (server["metadata"]["uid"], True)
            ]
    assert {call.user for call in calls.all()} == {OPERATOR_USER}


def test_all_children_exist_after_at_most_five_more_writes_than_children(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    team.made({"suspend": True})

    wait_until(lambda: set(team.children()) == CHILDREN, 10, "all children exist")
    writes = calls.writes(team.namespace)
    # The archive with the programs for pods is one of them; another server in the namespace does without it.
    assert len(writes) <= len(CHILDREN) + 5, writes


def test_the_status_says_where_the_server_is_and_what_was_decided(
    team: Team, operator: RunningOperator
) -> None:
    server = team.made({})

    status = server["status"]
    url = f"http://mlflow.{team.namespace}.svc"
    assert status["url"] == url
    assert status["address"] == {"url": url}
    assert status["backendStore"] == {"kind": "sqlite"}
    assert status["artifactStore"] == {"kind": "volume"}
    assert status["artifactRoot"] == "mlflow-artifacts:/"
    assert status["client"] == {"configMapName": "mlflow-client"}
    assert status["observedGeneration"] == server["metadata"]["generation"]
    assert {condition["type"] for condition in status["conditions"]} >= {
        "Ready",
        "SpecValid",
        "BackendStoreReady",
        "ArtifactStoreReady",
        "SchemaReady",
        "WorkloadReady",
        "Exposed",
    }
    assert all(condition["message"] for condition in status["conditions"])
    assert all(condition["observedGeneration"] == 1 for condition in status["conditions"])
    placement = status["placement"]
    assert placement["version"] == NEWEST_VERSION
    assert placement["backendStore"] == "sqlite"
    assert placement["artifactStore"] == "volume"


def test_the_selector_in_the_status_is_that_of_the_deployment_and_the_service(
    team: Team, operator: RunningOperator
) -> None:
    server = team.made({"suspend": True})

    selector = dict(pair.split("=") for pair in server["status"]["selector"].split(","))
    assert team.get(DEPLOYMENT)["spec"]["selector"]["matchLabels"] == selector
    assert team.get(SERVICE)["spec"]["selector"] == selector


def test_clients_get_the_url_of_the_service_on_port_80(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True})

    client = team.get(CONFIG_MAP, "mlflow-client")
    assert client["data"] == {
        "MLFLOW_TRACKING_URI": f"http://mlflow.{team.namespace}.svc",
        "TRACKING_SERVER_URL": f"http://mlflow.{team.namespace}.svc",
        "MLFLOW_PORT": "5000",
        **QUIET,
    }
    (port,) = team.get(SERVICE)["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"]) == ("http", 80, "http")


def test_a_server_that_keeps_its_data_has_no_finalizer(team: Team, operator: RunningOperator) -> None:
    server = team.made({"suspend": True})

    assert FINALIZER not in server["metadata"].get("finalizers", [])


def test_the_deployment_stops_the_old_pod_first_because_of_its_volumes(
    team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True})

    strategy = team.get(DEPLOYMENT)["spec"]["strategy"]
    assert strategy == {"type": "Recreate"}


def test_an_image_that_no_node_has_is_named_in_the_condition_and_in_one_event(
    team: Team, operator: RunningOperator
) -> None:
    team.apply({})

    ready = team.wait_for_condition("Ready", reason="ImagePullFailed", seconds=120)
    assert ready["status"] == "False"
    assert f"registry.invalid/mlflow:{NEWEST_VERSION}" in ready["message"]
    wait_until(
        lambda: [event["reason"] for event in team.warnings()] == ["ImagePullFailed"],
        5,
        lambda: f"one Event: {team.warnings()}",
    )


def test_two_servers_of_one_namespace_share_nothing(team: Team, operator: RunningOperator) -> None:
    team.apply({"suspend": True}, "first")
    team.apply({"suspend": True}, "second")
    team.settled("first")
    team.settled("second")

    assert not set(team.children("first")) & set(team.children("second"))
    assert len(team.children("first")) == len(team.children("second")) == len(CHILDREN)
    claims = [team.get(PERSISTENT_VOLUME_CLAIM, f"{name}-backend-store") for name in ("first", "second")]
    assert all(claim["metadata"].get("ownerReferences") is None for claim in claims)


def test_the_log_has_one_json_object_per_line_with_the_server_that_it_is_about(
    team: Team, operator: RunningOperator
) -> None:
    team.made({"suspend": True})

    about_this = [line for line in operator.log_lines() if line.get("namespace") == team.namespace]
    assert about_this
    assert {line["name"] for line in about_this} == {"mlflow"}
    assert len([line for line in about_this if line["message"].startswith("Wrote ")]) == len(CHILDREN) + 1, (
        "and the archive"
    )
    assert {kind.kind for kind in CHILD_KINDS} == {line["message"].split()[1] for line in about_this}


def test_a_class_that_can_be_used_says_so(team: Team, operator: RunningOperator) -> None:
    with a_class(team.api, {"naming": {"path": "/{{ namespace }}"}}) as name:
        ready = wait_until(lambda: _class_condition(team, name), 10, "the class has a status")
    assert (ready["status"], ready["reason"]) == ("True", "AsExpected")


def test_a_class_whose_template_yields_no_name_says_what_is_wrong_with_it(
    team: Team, operator: RunningOperator
) -> None:
    with a_class(team.api, {"naming": {"host": "{{ nme }}.example.com"}}) as name:
        ready = wait_until(lambda: _class_condition(team, name), 10, "the class has a status")
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "naming.host" in ready["message"]


def _class_condition(team: Team, name: str) -> KubeObject | None:
    return condition_of(team.api.get(TRACKING_SERVER_CLASS, None, name), "Ready")
