"""What an init container says of an identity provider before people log in there; the provider is a real one, on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.identity_provider.provider import Client, Provider, serve
from dev.loopback import free_port
from tracking_operator.outcomes import EXIT_CODES
from tracking_operator.pod_tools import check_identity_provider as module
from tracking_operator.pod_tools import checks

UNREACHABLE = EXIT_CODES["IdentityProviderUnreachable"]
REFUSED = EXIT_CODES["IdentityProviderRefusesClient"]


SECRET = "secret"


@pytest.fixture
def provider() -> Iterator[Provider]:
    port = free_port()
    made = Provider(f"http://127.0.0.1:{port}")
    made.clients["mlflow"] = Client("secret", [])
    made.clients["public"] = Client("", [])
    server = serve(made, ("127.0.0.1", port))
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the operator finds what was found."""
    monkeypatch.setattr(checks, "TERMINATION_LOG", tmp_path / "said")
    monkeypatch.setattr(module, "SECONDS_OF_PATIENCE", 0.0)
    return tmp_path / "said"


def run(said: Path, issuer: str, client: str = "mlflow", secret: str = SECRET, *more: str) -> tuple[int, str]:
    """How the program ends, and what it says."""
    file = said.parent / "secret"
    file.write_text(secret)
    code = module.main([f"--issuer={issuer}", f"--client-id={client}", f"--client-secret-file={file}", *more])
    found: dict[str, Any] = json.loads(said.read_text())
    return code, found["message"]


def test_a_client_that_the_provider_knows_may_start(provider: Provider, said: Path) -> None:
    assert run(said, provider.issuer)[0] == 0
    assert run(said, provider.issuer, "public", "")[0] == 0


@pytest.mark.parametrize(("client", "secret"), [("mlflow", "wrong"), ("mlflow", ""), ("another", "secret")])
def test_a_client_that_it_does_not_know_is_told(
    provider: Provider, said: Path, client: str, secret: str
) -> None:
    code, message = run(said, provider.issuer, client, secret)
    assert code == REFUSED
    assert f"does not take the client {client}" in message
    assert "invalid_client" in message
    assert "secret" not in message.replace("its secret", "").replace("no secret", "")


def test_a_secret_with_a_line_break_is_told_before_anybody_is_asked(said: Path) -> None:
    code, message = run(said, "http://127.0.0.1:1", "mlflow", "secret\n")
    assert (code, "line break" in message) == (REFUSED, True)


def test_a_host_that_does_not_resolve_and_one_that_does_not_answer_are_told(said: Path) -> None:
    code, message = run(said, "http://idp.invalid")
    assert (code, "does not resolve" in message) == (UNREACHABLE, True)
    code, message = run(said, f"http://127.0.0.1:{free_port()}")
    assert (code, "does not answer" in message) == (UNREACHABLE, True)


def test_a_provider_that_calls_itself_something_else_is_told(provider: Provider, said: Path) -> None:
    code, message = run(said, provider.issuer + "/")
    assert (code, "calls itself" in message) == (UNREACHABLE, True)
    provider.is_away = True
    assert run(said, provider.issuer)[0] == UNREACHABLE


def test_a_ca_that_cannot_be_read_is_told(provider: Provider, said: Path) -> None:
    broken = said.parent / "ca.crt"
    broken.write_text("no certificate")
    code, message = run(said, provider.issuer, "mlflow", "secret", f"--ca-file={broken}")
    assert (code, "caBundleRef" in message) == (UNREACHABLE, True)
