"""Kinds know their URLs."""

import pytest

from tracking_operator.kube.objects import (
    DEPLOYMENT,
    NAMESPACE,
    SERVICE,
    Kind,
    describe,
    kind_of,
    resource_version_of,
)


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "subresource", "path"),
    [
        (SERVICE, "team-a", "mlflow", None, "/api/v1/namespaces/team-a/services/mlflow"),
        (SERVICE, "team-a", None, None, "/api/v1/namespaces/team-a/services"),
        (SERVICE, None, None, None, "/api/v1/services"),
        (NAMESPACE, None, "team-a", None, "/api/v1/namespaces/team-a"),
        (NAMESPACE, "ignored", "team-a", None, "/api/v1/namespaces/team-a"),
        (DEPLOYMENT, "team-a", "mlflow", "scale", "/apis/apps/v1/namespaces/team-a/deployments/mlflow/scale"),
    ],
)
def test_path(
    kind: Kind, namespace: str | None, name: str | None, subresource: str | None, path: str
) -> None:
    assert kind.path(namespace, name, subresource) == path


def test_group_and_version() -> None:
    assert (DEPLOYMENT.group, DEPLOYMENT.version) == ("apps", "v1")
    assert (SERVICE.group, SERVICE.version) == ("", "v1")


def test_kind_of_an_unknown_object_is_a_mistake_in_the_program() -> None:
    with pytest.raises(KeyError):
        kind_of({"apiVersion": "example.com/v1", "kind": "Unheard"})


def test_describe_names_kind_and_place() -> None:
    in_namespace = {"kind": "Service", "metadata": {"namespace": "team-a", "name": "mlflow"}}
    assert describe(in_namespace) == "Service team-a/mlflow"
    assert describe({"kind": "Namespace", "metadata": {"name": "team-a"}}) == "Namespace team-a"


def test_resource_versions_compare_as_numbers() -> None:
    older, newer = ({"metadata": {"resourceVersion": version}} for version in ("999", "1000"))
    assert resource_version_of(older) < resource_version_of(newer)
    assert resource_version_of({"metadata": {}}) == 0
