"""What all Jobs of a server have: what fits the server's pods fits theirs."""

import pytest

from tests.unit.examples import POSTGRES, S3, Manifest, model, plan_of, server, tracking_class
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid
from tracking_operator.resources.deployment import build_deployment
from tracking_operator.resources.pod.artifact_jobs import (
    build_artifact_check_job,
    build_artifact_deletion_job,
)
from tracking_operator.resources.pod.migration_job import build_migration_job
from tracking_operator.resources.server_model import KubeObject, ServerModel

BUILDERS = (build_migration_job, build_artifact_check_job, build_artifact_deletion_job)
OWN = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
SMALL = {"requests": {"cpu": "100m", "memory": "300Mi"}, "limits": {"cpu": "200m", "memory": "600Mi"}}


def with_stores(spec: Manifest, class_: Manifest | None = None) -> ServerModel:
    stores = {"postgres": POSTGRES, "s3": S3}
    return model(spec, tracking_class(stores | (class_ or {}), is_default=True))


def pods(server: ServerModel) -> list[KubeObject]:
    return [build(server)["spec"]["template"] for build in BUILDERS]


def resources(server: ServerModel) -> Manifest:
    """What the Jobs have, all of them the same."""
    first, *others = [pod["spec"]["containers"][0]["resources"] for pod in pods(server)]
    assert all(one == first for one in others)
    return dict(first)


def test_take_what_the_server_takes() -> None:
    server = with_stores({"resources": OWN})
    (serving,) = build_deployment(server)["spec"]["template"]["spec"]["containers"]
    assert resources(server) == serving["resources"] == OWN


def test_take_what_the_class_gives_jobs() -> None:
    assert resources(with_stores({"resources": OWN}, {"jobs": {"resources": SMALL}})) == SMALL


def test_take_what_the_server_says_of_them_whatever_the_class_does() -> None:
    spec = {"resources": OWN, "jobs": {"resources": SMALL}}
    assert resources(with_stores(spec, {"jobs": {"resources": OWN}})) == SMALL


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"limits": {"memory": "512Mi"}}, ("512Mi", "512Mi", "2")),
        ({"requests": {"memory": "256Mi"}}, ("256Mi", "16Gi", "2")),
        ({"requests": {"memory": "4Gi"}}, ("4Gi", "16Gi", "2")),
    ],
)
def test_have_a_request_and_a_limit_of_everything_though_only_one_is_said(
    asked: Manifest, expected: tuple[str, str, str]
) -> None:
    found = resources(with_stores({"resources": OWN, "jobs": {"resources": asked}}))
    assert (found["requests"]["memory"], found["limits"]["memory"], found["limits"]["cpu"]) == expected


def test_may_ask_for_no_more_than_the_class_allows() -> None:
    spec = {"jobs": {"resources": {"limits": {"memory": "9Gi"}}}}
    class_ = tracking_class({"limits": {"maxResources": {"memory": "8Gi"}}}, is_default=True)
    with pytest.raises(Invalid) as refused:
        plan_of(server(spec), class_)
    assert refused.value.reason is Reason.LIMIT_EXCEEDED
    assert "spec.jobs.resources.limits.memory is 9Gi" in refused.value.message


def test_have_the_labels_and_annotations_of_the_team_and_go_where_its_pods_go() -> None:
    template: Manifest = {
        "labels": {"cost-center": "ml"},
        "annotations": {"example.com/owner": "team-a"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "priorityClassName": "batch",
        "imagePullSecrets": [{"name": "registry"}],
    }
    permitted = {"permissions": {"podTemplate": {"priorityClassNames": ["batch"]}}}
    for pod in pods(with_stores({"podTemplate": template}, permitted)):
        assert pod["metadata"]["labels"]["cost-center"] == "ml"
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] != "server"
        assert pod["metadata"]["annotations"]["example.com/owner"] == "team-a"
        where = ("tolerations", "priorityClassName", "imagePullSecrets")
        assert {field: pod["spec"][field] for field in where} == {field: template[field] for field in where}


def test_and_pods_name_no_user_where_the_platform_gives_one() -> None:
    server = with_stores({}, {"podSecurity": {"userIds": "Platform"}})
    for pod in (*pods(server), build_deployment(server)["spec"]["template"]):
        security = pod["spec"]["securityContext"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(security)
        assert security["runAsNonRoot"] is True
    for pod in pods(with_stores({})):
        assert pod["spec"]["securityContext"]["runAsUser"] == 10001
