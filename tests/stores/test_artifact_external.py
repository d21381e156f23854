"""An artifact store of somebody else's before each start: on a real versitygw, and on emulators of Google's and Azure's.

Google's and Azure's libraries are those of the image's extras. No emulator is known for Data Lake (abfss://): Azurite
has only its blobs, so that of abfss:// only the failures are tried here.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from dev.azurite import azurite_server
from dev.fake_gcs import fake_gcs_server
from dev.loopback import free_port
from dev.object_store.admin_api import User
from tests.certificates import Authority
from tests.mlflow_versions import MLFLOW_VERSION, mlflow_python
from tests.pod_programs import CHECK_ARTIFACTS
from tests.stores.artifact_world import (
    OBJECTS,
    ROOT_ACCESS,
    ROOT_SECRET,
    Answer,
    World,
    new_world,
    run_program,
    running_store,
)
from tests.unit.examples import Manifest, model

pytestmark = pytest.mark.each_mlflow

ACCOUNT = "devstoreaccount1.blob.core.windows.net"
IN_CONTAINER = """
import os, sys
from azure.storage.blob import BlobServiceClient
container = BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"]).get_container_client("team")
if sys.argv[1] == "create":
    container.create_container()
print(*[blob.name for blob in container.list_blobs()])
"""


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of an image that is built with both extras."""
    return str(mlflow_python(MLFLOW_VERSION, "azure", "gcs"))


def check(uri: str, folder: Path, python: str, **environment: str) -> Answer:
    """Run the check as the init container does."""
    return run_program(
        CHECK_ARTIFACTS, "external", uri, folder=folder, environment=environment, python=python
    )


class TestS3:
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls) -> Iterator[World]:
        with running_store() as server:
            yield new_world(server)

    @pytest.mark.parametrize("path", ["", "/", "/team-a/mlflow", "/team-a/mlflow/"])
    def test_that_takes_lists_gives_and_deletes_is_well_and_nothing_is_left_behind(
        self, world: World, tmp_path: Path, python: str, path: str
    ) -> None:
        user = world.user()
        world.allow(*world.everything(user))
        answer = check(f"s3://{world.bucket}{path}", tmp_path, python, **world.environment(user))
        assert (answer.exit_code, answer.reason) == (0, ""), answer
        assert world.keys() == set()

    def test_that_lets_nothing_be_deleted_is_remarked_and_the_server_starts(
        self, world: World, tmp_path: Path, python: str
    ) -> None:
        user = world.user()
        world.allow(*world.everything(user, [one for one in OBJECTS if "Delete" not in one]))
        answer = check(f"s3://{world.bucket}/x", tmp_path, python, **world.environment(user))
        assert (answer.exit_code, answer.reason) == (0, "AccessDenied"), answer
        (left,) = world.keys()
        assert f"{left} stays behind" in answer.message
        world.client.delete_object(Bucket=world.bucket, Key=left)

    @pytest.mark.parametrize(
        ("missing", "request_"), [("s3:PutObject", "PutObject"), ("s3:GetObject", "GetObject")]
    )
    def test_that_denies_what_mlflow_needs_is_named(
        self, world: World, tmp_path: Path, python: str, missing: str, request_: str
    ) -> None:
        user = world.user()
        world.allow(*world.everything(user, [one for one in OBJECTS if one != missing]))
        answer = check(f"s3://{world.bucket}/x", tmp_path, python, **world.environment(user))
        assert (answer.exit_code, answer.reason) == (40, "AccessDenied"), answer
        assert answer.message.startswith(request_)
        assert world.keys() == set()

    def test_that_does_not_know_the_keys_refuses_them(
        self, world: World, tmp_path: Path, python: str
    ) -> None:
        environment = world.environment(User("nobody", "planted-secret"))
        answer = check(f"s3://{world.bucket}/x", tmp_path, python, **environment)
        assert (answer.exit_code, answer.reason) == (21, "LoginRefused"), answer
        assert "credentialsSecretRef" in answer.message
        assert "planted-secret" not in answer.output + answer.message

    def test_without_the_bucket_is_named(self, world: World, tmp_path: Path, python: str) -> None:
        answer = check("s3://no-such-bucket/x", tmp_path, python, **world.environment(world.user()))
        assert (answer.exit_code, answer.reason) == (42, "BucketNotFound"), answer


class TestS3BehindAPrivateCa:
    """The variables are those that a server gets."""

    @pytest.fixture(scope="class")
    @classmethod
    def authority(cls) -> Authority:
        return Authority.new()

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
        folder = tmp_path_factory.mktemp("tls")
        certificate, key = authority.issue("s3", "127.0.0.1")
        (folder / "server.crt").write_text(certificate)
        (folder / "server.key").write_text(key)
        (folder / "ca.crt").write_text(authority.certificate)
        with running_store(certificate=(folder / "server.crt", folder / "server.key")) as server:
            yield new_world(server, ca=folder / "ca.crt")

    @staticmethod
    def check(world: World, folder: Path, ca: str | None, **more: str) -> Answer:
        external: Manifest = {
            "uri": f"s3://{world.bucket}/x",
            "endpoint": world.server.endpoint,
            "region": "us-east-1",
        }
        if ca is not None:
            external |= {"caConfigMapRef": {"name": "company-ca"}}
        variables = dict(
            model({"artifactStore": {"external": external}}).artifact_store.pod_parts().variables
        )
        if ca is not None:
            variables["AWS_CA_BUNDLE"] = str(folder / "ca.crt")
            (folder / "ca.crt").write_text(ca)
        keys = {"AWS_ACCESS_KEY_ID": ROOT_ACCESS, "AWS_SECRET_ACCESS_KEY": ROOT_SECRET}
        return run_program(
            CHECK_ARTIFACTS,
            "external",
            f"s3://{world.bucket}/x",
            folder=folder,
            environment=variables | keys | more,
        )

    def test_is_reached_with_it(self, world: World, authority: Authority, tmp_path: Path) -> None:
        answer = self.check(world, tmp_path, authority.certificate)
        assert (answer.exit_code, answer.reason) == (0, ""), answer
        assert world.keys() == set()

    def test_is_not_reached_with_another_ca_or_none(self, world: World, tmp_path: Path) -> None:
        for ca in (Authority.new().certificate, None):
            answer = self.check(world, tmp_path, ca)
            assert (answer.exit_code, answer.reason) == (46, "TlsFailed"), answer
            assert "caConfigMapRef" in answer.message
            assert ROOT_SECRET not in answer.output + answer.message


class TestGoogle:
    @pytest.fixture(scope="class")
    @classmethod
    def url(cls) -> Iterator[str]:
        with fake_gcs_server(free_port()) as url:
            body = json.dumps({"name": "team"}).encode()
            headers = {"Content-Type": "application/json"}
            urlopen(Request(f"{url}/storage/v1/b?project=test", body, headers)).close()  # noqa: S310
            yield url

    @staticmethod
    def objects(url: str) -> object:
        with urlopen(f"{url}/storage/v1/b/team/o") as answer:  # noqa: S310
            return json.load(answer).get("items", [])

    def test_that_takes_lists_gives_and_deletes_is_well_and_nothing_is_left_behind(
        self, url: str, tmp_path: Path, python: str
    ) -> None:
        answer = check("gs://team/mlflow", tmp_path, python, STORAGE_EMULATOR_HOST=url)
        assert (answer.exit_code, answer.reason) == (0, ""), answer
        assert self.objects(url) == []

    def test_without_the_bucket_is_named(self, url: str, tmp_path: Path, python: str) -> None:
        answer = check("gs://no-such-bucket/mlflow", tmp_path, python, STORAGE_EMULATOR_HOST=url)
        assert (answer.exit_code, answer.reason) == (42, "BucketNotFound"), answer

    def test_that_nobody_runs_is_unreachable(self, tmp_path: Path, python: str) -> None:
        nowhere = f"http://127.0.0.1:{free_port()}"
        answer = check("gs://team/mlflow", tmp_path, python, STORAGE_EMULATOR_HOST=nowhere)
        assert (answer.exit_code, answer.reason) == (20, "StoreUnreachable"), answer

    def test_credentials_that_are_none_are_refused_and_not_repeated(
        self, tmp_path: Path, python: str
    ) -> None:
        secret = tmp_path / "credentials" / "artifact-store"
        secret.mkdir(parents=True)
        (secret / "credentials.json").write_text('{"type": "service_account", "private_key": "planted"}')
        answer = check("gs://team/mlflow", tmp_path, python)
        assert (answer.exit_code, answer.reason) == (21, "LoginRefused"), answer
        assert "planted" not in answer.output + answer.message


class TestAzure:
    @pytest.fixture(scope="class")
    @classmethod
    def connection(cls, python: str) -> Iterator[str]:
        with azurite_server(free_port()) as connection:
            cls.blobs(python, connection, "create")
            yield connection

    @staticmethod
    def blobs(python: str, connection: str, *what: str) -> list[str]:
        done = subprocess.run(
            [python, "-c", IN_CONTAINER, *(what or ["list"])],
            env={"AZURE_STORAGE_CONNECTION_STRING": connection},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.split()

    def test_that_takes_lists_gives_and_deletes_is_well_and_nothing_is_left_behind(
        self, connection: str, tmp_path: Path, python: str
    ) -> None:
        environment = {"AZURE_STORAGE_CONNECTION_STRING": connection}
        answer = check(f"wasbs://team@{ACCOUNT}/mlflow", tmp_path, python, **environment)
        assert (answer.exit_code, answer.reason) == (0, ""), answer
        assert self.blobs(python, connection) == []

    def test_by_the_connection_string_of_the_mounted_secret_is_well(
        self, connection: str, tmp_path: Path, python: str
    ) -> None:
        secret = tmp_path / "credentials" / "artifact-store"
        secret.mkdir(parents=True)
        (secret / "connectionString").write_text(connection)
        answer = check(f"wasbs://team@{ACCOUNT}/mlflow", tmp_path, python)
        assert (answer.exit_code, answer.reason) == (0, ""), answer

    def test_without_the_container_is_named(self, connection: str, tmp_path: Path, python: str) -> None:
        environment = {"AZURE_STORAGE_CONNECTION_STRING": connection}
        answer = check(f"wasbs://no-such-container@{ACCOUNT}/mlflow", tmp_path, python, **environment)
        assert (answer.exit_code, answer.reason) == (42, "BucketNotFound"), answer

    def test_with_a_wrong_key_is_refused(self, connection: str, tmp_path: Path, python: str) -> None:
        wrong = connection.replace("AccountKey=Eby8", "AccountKey=Abc8")
        answer = check(
            f"wasbs://team@{ACCOUNT}/mlflow", tmp_path, python, AZURE_STORAGE_CONNECTION_STRING=wrong
        )
        # Azurite says AuthorizationFailure where Azure says AuthenticationFailed.
        assert (answer.exit_code, answer.reason) == (40, "AccessDenied"), answer

    @pytest.mark.parametrize(("scheme", "service"), [("abfss", "dfs"), ("wasbs", "blob")])
    def test_whose_host_is_not_known_is_named_and_its_token_is_not_repeated(
        self, tmp_path: Path, python: str, scheme: str, service: str
    ) -> None:
        environment = {
            "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=planted",
            "AZURE_STORAGE_ACCESS_KEY": "cGxhbnRlZA==",
        }
        uri = f"{scheme}://team@nobody.{service}.core.invalid/mlflow"
        answer = check(uri, tmp_path, python, **environment)
        assert (answer.exit_code, answer.reason) == (45, "HostNotFound"), answer
        assert "planted" not in answer.output + answer.message


class TestUnusable:
    @pytest.mark.parametrize(
        ("uri", "library", "extra"),
        [
            ("gs://team/mlflow", "google.cloud.storage", "gcs"),
            (f"wasbs://team@{ACCOUNT}/mlflow", "azure.storage.blob", "azure"),
            ("abfss://team@account.dfs.core.windows.net/mlflow", "azure.storage.filedatalake", "azure"),
        ],
    )
    def test_an_image_without_the_library_is_told_which_extra_it_needs(
        self, tmp_path: Path, uri: str, library: str, extra: str
    ) -> None:
        answer = check(uri, tmp_path, str(mlflow_python(MLFLOW_VERSION)))
        assert (answer.exit_code, answer.reason) == (27, "UnsupportedUri"), answer
        assert library in answer.message
        assert f"extra {extra}" in answer.message

    @pytest.mark.parametrize("uri", ["wasbs://account.blob.core.windows.net/x", "ftp://host/x", "s3:x"])
    def test_a_uri_that_names_no_container_is_refused(self, tmp_path: Path, uri: str, python: str) -> None:
        answer = check(uri, tmp_path, python)
        assert (answer.exit_code, answer.reason) == (27, "UnsupportedUri"), answer
