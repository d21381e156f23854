"""What a real MLflow encrypts in its database: readable after a restart and after the move to the server's own keys, by no other keys."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mlflow_versions import MLFLOW_VERSION, mlflow_python
from tests.pod_programs import CHECK_STORE
from tests.waiting import patient
from tracking_operator.passwords import new_key
from tracking_operator.pod_tools.start_server import credentials_environment

pytestmark = pytest.mark.each_mlflow

VERSION = MLFLOW_VERSION
API_KEY = "sk-of-the-gateway"
SECONDS = 240

ENTER = """
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore(sys.argv[1], sys.argv[2]).create_gateway_secret("openai", {"api_key": sys.argv[3]}, provider="openai")
"""
READ = """
import sys
from mlflow.store.tracking.dbmodels.models import SqlGatewaySecret
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.crypto import KEKManager, _decrypt_secret
with SqlAlchemyStore(sys.argv[1], sys.argv[2]).ManagedSessionMaker() as session:
    row = session.query(SqlGatewaySecret).one()
    print(_decrypt_secret(row.encrypted_value, row.wrapped_dek, KEKManager(), row.secret_id, row.secret_name))
"""
MAKE_WEBHOOK = """
import sys
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent
from mlflow.store.model_registry import sqlalchemy_store
sqlalchemy_store._validate_webhook_url = lambda url: None  # it would ask for the host's address
event = WebhookEvent(WebhookEntity.REGISTERED_MODEL, WebhookAction.CREATED)
sqlalchemy_store.SqlAlchemyStore(sys.argv[1]).create_webhook("w", "https://example.com/hook", [event], secret="of the webhook")
"""
LIST_WEBHOOKS = """
import sys
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
print([(one.name, one.secret) for one in SqlAlchemyStore(sys.argv[1]).list_webhooks()])
"""


@dataclass(frozen=True)
class Server:
    """The folder of a server: its database, and its Secrets as they are mounted."""

    folder: Path

    def mount(self, **contents: str) -> None:
        """Sync ``NAME-encryption``, as the kubelet does."""
        place = self.folder / "encryption"
        place.mkdir(exist_ok=True)
        for name, text in contents.items():
            (place / name).write_text(text)

    def run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in a process of its own, as MLflow runs: with the variables that the start script gives it."""
        uri, artifacts = f"sqlite:///{self.folder}/mlflow.db", str(self.folder / "artifacts")
        return self._python("-c", program, uri, artifacts, *arguments)

    def check(self) -> tuple[int, dict[str, str]]:
        """Run what comes before each start; return its exit code and what it tells the operator."""
        log = self.folder / "termination.json"
        done = self._python(
            *CHECK_STORE, "sqlite", str(self.folder / "mlflow.db"), f"--version={VERSION}",
            TRACKING_OPERATOR_TERMINATION_LOG=str(log),
        )  # fmt: skip
        assert log.exists(), done.stderr
        return done.returncode, json.loads(log.read_text())

    def _python(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TRACKING_OPERATOR_CREDENTIALS": str(self.folder),
        }
        return subprocess.run(
            [mlflow_python(VERSION), *arguments],
            env=variables | dict(credentials_environment(self.folder)) | more,
            capture_output=True,
            text=True,
            timeout=patient(SECONDS),
            check=False,
        )


def keys() -> dict[str, str]:
    """The contents of a Secret as the operator makes it."""
    return {"kekPassphrase": new_key(), "kekVersion": "2", "webhookKey": new_key()}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a schema and nothing in it, made once: MLflow takes its time."""
    server = Server(tmp_path_factory.mktemp("schema"))
    assert server.check()[0] == 0
    return server.folder / "mlflow.db"


@pytest.fixture
def server(database: Path, tmp_path: Path) -> Server:
    """A server with a schema, from the time before it had keys of its own."""
    shutil.copy(database, tmp_path)
    return Server(tmp_path)


def test_what_was_entered_before_the_move_is_readable_after_it_and_not_with_other_keys(
    server: Server,
) -> None:
    entered = server.run(ENTER, API_KEY)
    assert entered.returncode == 0, entered.stderr
    server.mount(**keys())
    assert server.run(READ).returncode != 0, "the public passphrase's row, with the server's own"
    for _ in range(2):
        code, said = server.check()
        assert (code, said["reason"]) == (0, ""), said
        assert API_KEY in server.run(READ).stdout

    kept = {file.name: file.read_text() for file in (server.folder / "encryption").iterdir()}
    server.mount(**keys())
    code, said = server.check()
    assert (code, said["reason"]) == (0, "EncryptionKeyLost")
    assert "restore that Secret" in said["message"]
    assert all(kept[name] not in json.dumps(said) for name in ("kekPassphrase", "webhookKey"))
    server.mount(**kept)
    assert server.check()[1]["reason"] == ""


def test_webhooks_are_listed_after_a_restart(server: Server) -> None:
    server.mount(**keys())
    made = server.run(MAKE_WEBHOOK)
    assert made.returncode == 0, made.stderr
    listed = server.run(LIST_WEBHOOKS)
    assert "of the webhook" in listed.stdout, listed.stderr
