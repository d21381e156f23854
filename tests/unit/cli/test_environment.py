"""What `env` prints: what a shell takes over and no more, or a sentence and nothing."""

import base64
import subprocess

import pytest

from tests.unit.cli.fake_cluster import FakeCluster, tracking_server
from tracking_operator.cli.kubectl_program import main
from tracking_operator.kube.objects import KubeObject

URL = "https://tracking.team-a.mlflow.example.com"
STATUS: KubeObject = {
    "url": URL,
    "address": {"url": "http://tracking.team-a.svc"},
    "client": {"secretName": "tracking-client"},
}
HOSTILE = '\'; echo taken over; $(echo x) `echo y` "z" \\'


def secret(**data: str) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tracking-client", "namespace": "team-a"},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def run(cluster: FakeCluster, *arguments: str) -> int:
    return main(["env", "tracking", *arguments, "--kubeconfig", str(cluster.kubeconfig)])


def in_a_shell(printed: str) -> dict[str, str]:
    """The variables of a shell that has evaluated what was printed."""
    script = 'export PATH=here; eval "$PRINTED"; /usr/bin/env -0'
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"PRINTED": printed}, capture_output=True, text=True, check=True
    )
    variables = dict(one.split("=", 1) for one in done.stdout.split("\0") if one)
    return {name: value for name, value in variables.items() if name.startswith(("MLFLOW", "PATH"))}


@pytest.mark.parametrize("password", ["secret", HOSTILE])
def test_a_shell_takes_over_address_user_and_password_and_nothing_else(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str], password: str
) -> None:
    login = {"MLFLOW_TRACKING_USERNAME": "team", "MLFLOW_TRACKING_PASSWORD": password}
    cluster.put(tracking_server(status=STATUS), secret(**login, PATH="/evil", AWS_ACCESS_KEY_ID="AKIA"))
    assert run(cluster) == 0
    printed = capsys.readouterr()
    assert in_a_shell(printed.out) == {"MLFLOW_TRACKING_URI": URL, "PATH": "here", **login}
    assert printed.err == ""


def test_another_address_can_be_named(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.put(tracking_server(status={"url": URL}))
    assert run(cluster, "--url", "http://localhost:7006") == 0
    assert capsys.readouterr().out == "export MLFLOW_TRACKING_URI=http://localhost:7006\n"


def test_a_secret_with_keys_alone_is_no_login(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put(tracking_server(status=STATUS), secret(AWS_ACCESS_KEY_ID="AKIA"))
    assert run(cluster) == 0
    assert capsys.readouterr().out == f"export MLFLOW_TRACKING_URI={URL}\n"


def test_an_address_for_pods_is_called_that(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    service = "http://tracking.team-a.svc"
    cluster.put(tracking_server(status={"url": service, "address": {"url": service}}))
    assert run(cluster) == 0
    assert "address for pods" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ([], "There is no TrackingServer tracking in namespace team-a"),
        ([tracking_server()], "has no address yet"),
        ([tracking_server(status=STATUS)], "Secret tracking-client of TrackingServer tracking"),
        ([tracking_server(status=STATUS), secret(MLFLOW_TRACKING_PASSWORD="")], "holds no password"),
    ],
    ids=["no server", "no address", "no secret", "no password"],
)
def test_what_is_missing_is_said_and_nothing_is_printed(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str], objects: list[KubeObject], said: str
) -> None:
    cluster.put(*objects)
    assert run(cluster) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
