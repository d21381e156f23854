"""Backup and restore of one server's database and artifacts by the pods' programs: real MLflow, the oldest and the newest PostgreSQL,
a real versitygw, and URLs as the operator signs them."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg2 import sql

from dev.object_store.admin_api import User
from tests.mlflow_image import Answer
from tests.mlflow_versions import HEADS, NEWEST_VERSION, VERSION_BEFORE, mlflow_python
from tests.pod_programs import BACK_UP, MIGRATE_STORE, RESTORE_BACKUP
from tests.stores.artifact_world import ROOT_ACCESS, ROOT_SECRET, running_store
from tests.stores.artifact_world import World as Bucket
from tests.stores.artifact_world import new_world as new_bucket
from tests.stores.postgres.pod import Pod
from tests.stores.postgres.world import World, desired, tenant
from tests.waiting import patient
from tracking_operator.api.s3_connection import AddressingStyle
from tracking_operator.pod_tools.backup_manifest import Manifest, manifest_in, sha256_of
from tracking_operator.pod_tools.database_rows import NEVER_COPIED
from tracking_operator.stores.s3 import bucket_address
from tracking_operator.stores.s3.backups import (
    SignedUrls,
    folder_of_attempt,
    read_manifest,
    sign_downloads,
    sign_uploads,
    stored_sizes,
)
from tracking_operator.stores.s3.tenant import Admin

PASSWORD = "a-password"
OLD_PREFIX, NEW_PREFIX = "team-a/mlflow", "team-a/restored"
PART_BYTES = 100_000
"""So small that a backup has several parts."""

LOG_RUNS = r"""
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.create_experiment("odd\ttext \\N \\. ü", artifact_location=sys.argv[2] + "/1")
for number in range(20):
    run = client.create_run(experiment, run_name=f"run\n{number}")
    client.log_param(run.info.run_id, "text", "a\tb\\c\nd\r" + chr(0x1F600) * 5)
    for step, value in enumerate([0.1, float("nan"), float("inf"), -1e300]):
        client.log_metric(run.info.run_id, "rmse", value, step=step)
client.create_registered_model("model")
client.create_model_version("model", run.info.artifact_uri + "/model", run.info.run_id)
client.set_registered_model_alias("model", "champion", "1")
"""
GO_ON = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
version = client.get_model_version_by_alias("model", "champion")
assert version.source.startswith(sys.argv[2] + "/1/"), version.source
experiments = {one.name: one for one in client.search_experiments()}
made = client.create_experiment("after the restore")
assert int(made) > max(int(one.experiment_id) for one in experiments.values()), made
run = client.get_run(version.run_id)
print(run.data.params["text"] == "a\\tb\\\\c\\nd\\r" + chr(0x1F600) * 5, run.info.artifact_uri.startswith(sys.argv[2] + "/1/"))
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with running_store() as server:
        yield new_bucket(server)


@dataclass
class Server:
    """A server's database and prefix, and its Jobs."""

    world: World
    bucket: Bucket
    folder: Path
    name: str
    prefix: str
    version: str = NEWEST_VERSION
    user: User = field(init=False)
    pod: Pod = field(init=False)

    def __post_init__(self) -> None:
        self.user = self.bucket.user()
        of = tenant(self.name)
        self.world.provision(desired(of, PASSWORD))
        (self.folder / "backend-store").mkdir(parents=True)
        self.pod = Pod(self.folder / "backend-store", self.world, of, python=mlflow_python(self.version))
        self.pod.mount(of.logins[0], PASSWORD)

    @property
    def root(self) -> str:
        return f"s3://{self.bucket.bucket}/{self.prefix}"

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg2://{self.pod.tenant.logins[0]}:{PASSWORD}@localhost:{self.world.running.port}/{self.pod.tenant.database}"

    def migrate(self, version: str) -> Answer:
        self.pod.python = mlflow_python(version)
        return self.pod.run(MIGRATE_STORE, "postgres", str(self.pod.service_file), f"--version={version}")

    def sign(self, signed: SignedUrls) -> None:
        """Mount the Secret with the URLs."""
        place = self.folder / "backup"
        place.mkdir(exist_ok=True)
        (place / "urls.json").write_text(
            json.dumps({"urls": dict(signed.urls), "headers": dict(signed.headers)})
        )

    def back_up(self, *more: str) -> Answer:
        return self._run(BACK_UP, f"--part-bytes={PART_BYTES}", *more)

    def restore(self, sha256: str, *more: str) -> Answer:
        return self._run(RESTORE_BACKUP, f"--manifest-sha256={sha256}", *more)

    def python(self, program: str) -> str:
        """What a program of MLflow's own prints about the database."""
        done = subprocess.run(
            [self.pod.python, "-c", program, self.uri, self.root],
            capture_output=True, text=True, check=False, timeout=patient(120), env={"MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(self.folder)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        of = self.pod.tenant
        with (
            self.world.connected(of.logins[0], PASSWORD, of.database) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
            names = [str(name) for (name,) in cursor.fetchall() if name not in NEVER_COPIED]
            counts = {}
            for name in names:
                cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", name)))
                counts[name] = int(str(cursor.fetchone()[0]))  # type: ignore[index]
            return counts

    def put(self, name: str, content: bytes) -> None:
        self.bucket.client.put_object(Bucket=self.bucket.bucket, Key=f"{self.prefix}/{name}", Body=content)

    def artifacts(self) -> dict[str, bytes]:
        """All that lies under the prefix, by its name there."""
        client, name = self.bucket.client, self.bucket.bucket
        every_key = self.bucket.keys()
        keys = [key for key in every_key if key.startswith(f"{self.prefix}/")]
        return {
            key.removeprefix(f"{self.prefix}/"): client.get_object(Bucket=name, Key=key)["Body"].read()
            for key in keys
        }

    def _run(self, program: tuple[str, str], *arguments: str) -> Answer:
        place = [f"--bucket={self.bucket.bucket}", f"--prefix={self.prefix}", f"--artifact-root={self.root}"]
        return self.pod.run(
            program,
            *("postgres", str(self.pod.service_file), f"--version={self.version}", *place, *arguments),
            TRACKING_OPERATOR_CREDENTIALS=str(self.folder),
            **self.bucket.environment(self.user),
        )


@dataclass
class Stored:
    """Where a backup is, as the admin sees it."""

    admin: Admin
    folder: str

    @classmethod
    def new(cls, bucket: Bucket) -> "Stored":
        place = bucket_address.Bucket(
            bucket.bucket, endpoint=bucket.server.endpoint, addressing_style=AddressingStyle.PATH
        )
        admin = Admin(place, bucket_address.Keys(ROOT_ACCESS, ROOT_SECRET))
        return cls(admin, folder_of_attempt("namespace-uid", uuid4().hex, 1))

    @property
    def sha256(self) -> str:
        content = read_manifest(self.admin, self.folder)
        assert content is not None
        return sha256_of(content)

    @property
    def manifest(self) -> Manifest:
        content = read_manifest(self.admin, self.folder)
        assert content is not None
        return manifest_in(content)


ARTIFACTS = {
    "1/run/artifacts/model/MLmodel": b"flavors: {}",
    "1/run/artifacts/empty": b"",
    "1/run/artifacts/weights ü+&.bin": bytes(range(256)) * 1000,
    "1/run/artifacts/" + "long/" * 40 + "name": b"deep",
}


@pytest.fixture
def servers(edge_world: World, bucket: Bucket, tmp_path: Path) -> tuple[Server, Server]:
    """A server that has logged runs and artifacts, and a new one."""
    old = Server(edge_world, bucket, tmp_path / "old", "mlflow_old", OLD_PREFIX)
    new = Server(edge_world, bucket, tmp_path / "new", "mlflow_new", NEW_PREFIX)
    bucket.allow(*bucket.statements(old.user, OLD_PREFIX), *bucket.statements(new.user, NEW_PREFIX))
    return old, new


def fill(server: Server) -> None:
    for name, content in ARTIFACTS.items():
        server.put(name, content)
    server.python(LOG_RUNS)


def test_a_restored_server_has_all_rows_and_artifacts_and_a_changed_byte_is_found(
    servers: tuple[Server, Server],
) -> None:
    old, new = servers
    assert old.migrate(NEWEST_VERSION).exit_code == 0
    fill(old)
    stored = Stored.new(old.bucket)
    old.sign(sign_uploads(stored.admin, stored.folder, None, parts=9))
    taken = old.back_up()
    assert (taken.exit_code, taken.revision) == (0, HEADS[NEWEST_VERSION]), taken.output
    manifest = stored.manifest
    assert {name: table.rows for name, table in manifest.tables.items()} == old.rows()
    assert (manifest.runs, manifest.objects, len(manifest.parts) > 2) == (20, len(ARTIFACTS), True)
    assert sum(stored_sizes(stored.admin, stored.folder).values()) > manifest.size

    refused = old.back_up()  # what is stored is not replaced
    assert refused.reason == "Busy", refused.output

    part = f"{stored.folder}part-00001"
    client, name = old.bucket.client, old.bucket.bucket
    content = client.get_object(Bucket=name, Key=part)["Body"].read()
    new.sign(sign_downloads(stored.admin, stored.folder, len(manifest.parts)))
    client.put_object(Bucket=name, Key=part, Body=content[:-1] + bytes([content[-1] ^ 1]))
    broken = new.restore(stored.sha256)
    assert (broken.reason, new.rows()["runs"]) == ("BackupBroken", 0), broken.output
    client.put_object(Bucket=name, Key=part, Body=content)

    assert_tried_out(stored, old, new.folder.parent / "trial")

    assert new.restore("0" * 64).reason == "RestoreRefused"  # by another manifest than the attempt before
    for _ in range(2):  # the second time there is nothing to do
        restored = new.restore(stored.sha256)
        assert restored.exit_code == 0, restored.output
    assert new.rows() == old.rows()
    assert new.artifacts() == ARTIFACTS
    assert new.migrate(NEWEST_VERSION).exit_code == 0
    assert new.python(GO_ON) == "True True"
    assert old.artifacts() == ARTIFACTS


def assert_tried_out(stored: Stored, old: Server, folder: Path) -> None:
    """A trial fills a database and stores nothing; a changed byte of the last part, and a missing one, are found by it."""
    trial = Server(old.world, old.bucket, folder, "mlflow_trial", "team-a/trial")
    last = len(stored.manifest.parts) - 1
    client, name, part = old.bucket.client, old.bucket.bucket, f"{stored.folder}part-{last:05}"
    content = client.get_object(Bucket=name, Key=part)["Body"].read()
    trial.sign(sign_downloads(stored.admin, stored.folder, last + 1))
    client.put_object(Bucket=name, Key=part, Body=content[:-1] + bytes([content[-1] ^ 1]))
    broken = trial.restore(stored.sha256, "--trial")
    assert (broken.reason, "part-" in broken.message) == ("BackupBroken", True), broken.output
    client.put_object(Bucket=name, Key=part, Body=content)
    tried = trial.restore(stored.sha256, "--trial")
    assert (tried.exit_code, tried.message) == (0, f"20 runs and {len(ARTIFACTS)} artifacts are restored."), (
        tried.output
    )
    assert (trial.rows(), trial.artifacts()) == (old.rows(), {})


def test_a_backup_of_an_earlier_release_is_migrated_and_one_of_a_later_release_refused(
    one_world: World, bucket: Bucket, tmp_path: Path
) -> None:
    old = Server(one_world, bucket, tmp_path / "old", "mlflow_old", OLD_PREFIX, VERSION_BEFORE)
    new = Server(one_world, bucket, tmp_path / "new", "mlflow_new", NEW_PREFIX)
    bucket.allow(*bucket.statements(old.user, OLD_PREFIX), *bucket.statements(new.user, NEW_PREFIX))
    assert old.migrate(VERSION_BEFORE).exit_code == 0
    fill(old)
    stored = Stored.new(bucket)
    old.sign(sign_uploads(stored.admin, stored.folder, None, parts=9))
    assert old.back_up().exit_code == 0
    assert stored.manifest.schema_revision == HEADS[VERSION_BEFORE]

    new.sign(sign_downloads(stored.admin, stored.folder, len(stored.manifest.parts)))
    restored = new.restore(stored.sha256)
    assert restored.exit_code == 0, restored.output
    assert new.migrate(NEWEST_VERSION).revision == HEADS[NEWEST_VERSION]
    assert new.python(GO_ON) == "True True"

    later = Stored.new(bucket)
    new.sign(sign_uploads(later.admin, later.folder, None, parts=9))
    assert new.back_up().exit_code == 0
    old.sign(sign_downloads(later.admin, later.folder, len(later.manifest.parts)))
    assert old.restore(later.sha256).reason == "RestoreRefused"  # its own tables are left alone
    fresh = Server(one_world, bucket, tmp_path / "fresh", "mlflow_fresh", OLD_PREFIX, VERSION_BEFORE)
    fresh.sign(sign_downloads(later.admin, later.folder, len(later.manifest.parts)))
    assert fresh.restore(later.sha256).reason == "SchemaTooNew"
