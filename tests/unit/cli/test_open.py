"""What `tracking-operator open` says: where the server is now, or why it cannot be opened."""

import asyncio
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from dev.loopback import free_port
from tests.unit.cli.fake_cluster import write_kubeconfig
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.cluster import CommandError
from tracking_operator.cli.open import (
    HOST_OF_IPV6,
    Forwarding,
    introduction,
    is_ready,
    listen,
    local_url,
    login_command,
    loopback_addresses,
    no_pod,
)
from tracking_operator.cli.operator_program import main
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.connection import namespace_of_context


def server(**changes: dict[str, Any]) -> TrackingServer:
    given = {"metadata": {"name": "mlflow", "namespace": "team-a"}, "spec": {}, "status": {}}
    return TrackingServer.model_validate({**given, **changes})


def with_condition(status: str, reason: str, message: str) -> TrackingServer:
    condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
    return server(status={"conditions": [{**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}]})


def pod(status: str = "True", **metadata: str) -> dict[str, Any]:
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": status}]}}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Of a cluster that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    return write_kubeconfig(tmp_path / "kubeconfig", address)


@pytest.mark.parametrize(
    ("inside", "local"),
    [
        ("http://mlflow.team-a.svc", "http://localhost:7006/"),
        ("http://mlflow.team-a.svc/", "http://localhost:7006/"),
        ("http://mlflow.team-a.svc/team-a", "http://localhost:7006/team-a/"),
        (None, "http://localhost:7006/"),
    ],
)
def test_the_server_has_the_same_path_here_as_everywhere(inside: str | None, local: str) -> None:
    assert local_url(server(status={"address": {"url": inside}}), 7006) == local


def test_a_server_with_a_login_is_introduced_with_what_prints_the_passwords() -> None:
    said = introduction(server(), "http://localhost:7006/", asks_for_login=True)
    assert "http://localhost:7006/" in said
    assert "get secret mlflow-auth" in said
    assert "get secret mlflow-client" in said
    assert "Ctrl-C" in said


def test_a_server_without_a_login_is_introduced_without_passwords() -> None:
    assert "secret" not in introduction(server(), "http://localhost:7006/", asks_for_login=False)


def test_the_command_prints_user_and_password() -> None:
    assert login_command("team-a", "mlflow-auth", "username", "password") == (
        "kubectl --namespace team-a get secret mlflow-auth --output"
        " go-template='{{.data.username | base64decode}} {{.data.password | base64decode}}{{\"\\n\"}}'"
    )


def test_only_a_ready_pod_that_is_to_stay_is_opened() -> None:
    assert is_ready(pod())
    assert not is_ready(pod("False"))
    assert not is_ready(pod(deletionTimestamp="2026-01-01T00:00:00Z"))
    assert not is_ready({"metadata": {}, "status": {}})


@pytest.mark.parametrize("spec", [{"suspend": True}, {"replicas": 0}])
def test_a_suspended_server_has_to_be_woken_first(spec: dict[str, Any]) -> None:
    assert "is suspended" in no_pod(server(spec=spec))
    assert "spec.suspend to false" in no_pod(server(spec=spec))


def test_a_server_that_is_not_ready_says_why_itself() -> None:
    assert no_pod(with_condition("False", "MigrationFailed", "Look at the Job.")) == (
        "No pod of TrackingServer mlflow in namespace team-a is ready (MigrationFailed): Look at the Job."
    )


def test_a_server_that_nobody_looks_at_has_no_operator() -> None:
    assert "does the operator run?" in no_pod(server())


def test_the_namespace_is_the_contexts(kubeconfig: Path) -> None:
    assert namespace_of_context(kubeconfig) == "team-a"
    assert namespace_of_context(kubeconfig, "other") == "default"


def test_without_a_kubeconfig_there_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "mlflow", "--kubeconfig", str(tmp_path / "none")]) == 1
    assert "No Kubernetes cluster to talk to" in capsys.readouterr().err


def test_an_unknown_context_is_no_cluster(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "mlflow", "--kubeconfig", str(kubeconfig), "--context", "none"]) == 1
    assert "No Kubernetes cluster to talk to" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_said(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "mlflow", "--kubeconfig", str(kubeconfig)]) == 1
    assert "did not answer" in capsys.readouterr().err


async def whoever_answers(port: int) -> list[bytes]:
    """What comes from each address that `localhost` may mean here."""

    class Answering(Forwarding):
        async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"the server")
            writer.close()

    answers = []
    async with await listen(Answering(cast(KubeClient, None), server()), port):
        for address in loopback_addresses():
            reader, writer = await asyncio.open_connection(address, port)
            answers.append(await reader.read())
            writer.close()
    return answers


def test_it_answers_at_every_address_that_localhost_may_mean() -> None:
    assert asyncio.run(whoever_answers(free_port())) == [b"the server"] * len(loopback_addresses())


@pytest.mark.skipif(HOST_OF_IPV6 not in loopback_addresses(), reason="this machine knows no IPv6")
def test_a_port_that_somebody_has_at_one_of_these_addresses_is_taken() -> None:
    taken = socket.create_server((HOST_OF_IPV6, 0), family=socket.AF_INET6)
    with taken as somebody, pytest.raises(CommandError, match="Choose another one with --port"):
        asyncio.run(whoever_answers(somebody.getsockname()[1]))


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["open", "--help"])
    assert "tracking-operator open mlflow -n team-a" in capsys.readouterr().out
