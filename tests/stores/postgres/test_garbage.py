"""What a team has deleted long ago is removed by the pods' program, and nothing that a registered model needs: a real MLflow's tables,
a real PostgreSQL and a real versitygw."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dev.object_store.admin_api import User
from tests.mlflow_versions import NEWEST_VERSION, mlflow_python
from tests.pod_programs import COLLECT_GARBAGE, MIGRATE_STORE
from tests.stores.artifact_world import World as Bucket
from tests.stores.artifact_world import new_world as new_bucket
from tests.stores.artifact_world import running_store
from tests.stores.postgres.pod import Pod
from tests.stores.postgres.world import World, desired, tenant

if TYPE_CHECKING:
    from psycopg2 import extensions

PASSWORD, PREFIX = "a-password", "team-a/mlflow"
DELETED, REGISTERED, BROKEN = 1000, 10, 5
BROKEN_PLACES = (
    "s3://somebody-elses/1/{id}/artifacts",
    "mlflow-artifacts:/../other/{id}/artifacts",
    "mlflow-artifacts:/1",
    "ftp://host/{id}",
    "mlflow-artifacts://another-server/1/{id}/artifacts",
)
FILL = """
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)
VALUES (1, 'old', 'mlflow-artifacts:/1', 'active');
INSERT INTO runs (run_uuid, name, user_id, experiment_id, status, start_time, lifecycle_stage, deleted_time, artifact_uri)
SELECT lpad(n::text, 32, '0'), 'run', 'somebody', 1, 'FINISHED', 1, 'deleted', 1, 'mlflow-artifacts:/1/' || lpad(n::text, 32, '0') || '/artifacts'
FROM generate_series(1, {deleted}) AS n;
INSERT INTO runs (run_uuid, name, user_id, experiment_id, status, start_time, lifecycle_stage, deleted_time, artifact_uri) VALUES
('active', 'run', 'somebody', 1, 'FINISHED', 1, 'active', NULL, 'mlflow-artifacts:/1/active/artifacts'),
('recent', 'run', 'somebody', 1, 'FINISHED', 1, 'deleted', extract(epoch FROM now()) * 1000, 'mlflow-artifacts:/1/recent/artifacts');
INSERT INTO params (key, value, run_uuid) SELECT 'a', 'b', run_uuid FROM runs;
INSERT INTO tags (key, value, run_uuid) SELECT 'a', 'b', run_uuid FROM runs;
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) SELECT 'rmse', 1, 1, run_uuid, 1, false FROM runs;
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) SELECT 'rmse', 1, 1, 1, false, run_uuid FROM runs;
INSERT INTO registered_models (name) VALUES ('fraud');
INSERT INTO model_versions (name, version, current_stage, status, run_id, source)
SELECT 'fraud', n, 'None', 'READY', CASE WHEN n % 2 = 0 THEN lpad(n::text, 32, '0') END,
    'mlflow-artifacts:/1/' || lpad(n::text, 32, '0') || '/artifacts/model'
FROM generate_series(1, {registered}) AS n;
INSERT INTO registered_model_aliases (name, alias, version) VALUES ('fraud', 'champion', 1);
INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms, last_updated_timestamp_ms,
    status, lifecycle_stage)
SELECT id, 1, 'model', 'mlflow-artifacts:/1/models/' || id || '/artifacts', 1, 1, 2, 'deleted' FROM (VALUES ('m-old'), ('m-needed')) AS of(id);
INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value) VALUES ('m-old', 1, 'a', 'b');
INSERT INTO model_versions (name, version, current_stage, status, source) VALUES ('fraud', 99, 'None', 'READY', 'models:/m-needed');
"""


@dataclass
class Server:
    """A server's database and prefix, full of what somebody has deleted, and its Job."""

    world: World
    bucket: Bucket
    folder: Path
    user: User = field(init=False)
    pod: Pod = field(init=False)

    def __post_init__(self) -> None:
        self.user, of = self.bucket.user(), tenant("mlflow_garbage")
        self.bucket.allow(*self.bucket.statements(self.user, PREFIX))
        self.world.provision(desired(of, PASSWORD))
        self.pod = Pod(self.folder, self.world, of, python=mlflow_python(NEWEST_VERSION))
        self.pod.mount(of.logins[0], PASSWORD)
        place = "postgres", str(self.pod.service_file), f"--version={NEWEST_VERSION}"
        assert self.pod.run(MIGRATE_STORE, *place).exit_code == 0
        self.write(FILL.format(deleted=DELETED, registered=REGISTERED))
        for number, broken in enumerate(BROKEN_PLACES, start=REGISTERED + 1):
            self.write(
                "UPDATE runs SET artifact_uri = %s WHERE run_uuid = %s",
                broken.format(id=id_of(number)),
                id_of(number),
            )
        for name in self.files():
            self.bucket.client.put_object(Bucket=self.bucket.bucket, Key=name, Body=b"12345")

    def files(self) -> list[str]:
        """Some of the files that runs and models have."""
        ids = [id_of(number) for number in (*range(1, REGISTERED + 1), 500, DELETED)]
        runs = [f"{PREFIX}/1/{id_}/artifacts/model/{name}" for id_ in ids for name in ("MLmodel", "weights")]
        models = [f"{PREFIX}/1/models/{id_}/artifacts/MLmodel" for id_ in ("m-old", "m-needed")]
        others = [f"{PREFIX}/1/active/artifacts/a", f"{PREFIX}/1/recent/artifacts/a", f"{PREFIX}0/1/other"]
        return [*runs, *models, *others]

    def write(self, statement: str, *values: str) -> None:
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)

    def connected(self) -> AbstractContextManager["extensions.connection"]:
        return self.world.connected(self.pod.tenant.logins[0], PASSWORD, self.pod.tenant.database)

    def ids(self, table: str = "runs", column: str = "run_uuid") -> set[str]:
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT DISTINCT {column} FROM {table}")  # noqa: S608 - a test's own words
            return {str(one) for (one,) in cursor.fetchall()}

    def traces_of_writes(self) -> str:
        """Where each row is, and which transactions have written or locked it last."""
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT md5(string_agg(concat(of, ctid, xmin, xmax), ',' ORDER BY of, ctid)) FROM ("
                "SELECT 'r' AS of, ctid, xmin, xmax FROM runs UNION ALL SELECT 'm', ctid, xmin, xmax FROM metrics "
                "UNION ALL SELECT 'l', ctid, xmin, xmax FROM logged_models) AS rows"
            )
            found = cursor.fetchone()
            assert found is not None
            return str(found[0])

    def collect(self, *more: str) -> dict[str, Any]:
        """Run the Job; return what it tells the operator."""
        place = [f"--bucket={self.bucket.bucket}", f"--prefix={PREFIX}", "--artifact-root=mlflow-artifacts:/"]
        with self.pod.running(
            COLLECT_GARBAGE,
            *("postgres", str(self.pod.service_file), f"--version={NEWEST_VERSION}", *place),
            *("--older-than-hours=24", "--keep-registered", *more),
            **self.bucket.environment(self.user),
        ) as container:
            answer = container.answer()
            assert answer.exit_code == 0, answer.output
            found: dict[str, Any] = json.loads(container.termination_log.read_text())["collected"]
            return found | {"output": answer.output}


def id_of(number: int) -> str:
    return str(number).rjust(32, "0")


@pytest.fixture
def server(one_world: World, tmp_path: Path) -> Iterator[Server]:
    with running_store() as store:
        yield Server(one_world, new_bucket(store), tmp_path)


def test_what_was_deleted_long_ago_goes_but_for_what_is_registered_and_one_bad_place_stops_nothing(
    server: Server,
) -> None:
    runs, keys = server.ids(), server.bucket.keys()
    gone = DELETED - REGISTERED - BROKEN
    kept = [id_of(number) for number in range(1, REGISTERED + 1)]
    broken = [id_of(number) for number in range(REGISTERED + 1, REGISTERED + BROKEN + 1)]

    looked = server.collect("--dry-run")
    assert (looked["dryRun"], looked["removed"], looked["bytes"]) == (True, gone + 1, 25)
    assert (server.ids(), server.bucket.keys()) == (runs, keys)

    found = server.collect()
    assert (found["removed"], found["bytes"], found["dryRun"]) == (gone + 1, 25, False)
    assert (found["kept"], found["keptCount"]) == (sorted([*kept, "m-needed"]), REGISTERED + 1)
    assert (found["failed"], found["failedCount"]) == (broken, BROKEN)
    assert all(f"runs {id_} is not removed" in found["output"] for id_ in broken)
    left = {*kept, *broken, "active", "recent"}
    for table in ("runs", "params", "tags", "metrics", "latest_metrics"):
        assert server.ids(table) == left, table
    assert server.ids("logged_models", "model_id") == {"m-needed"}
    removed = {key for key in keys if id_of(500) in key or id_of(DELETED) in key or "m-old" in key}
    assert server.bucket.keys() == keys - removed

    before = server.traces_of_writes()
    again = server.collect()
    assert (again["removed"], again["bytes"], again["keptCount"]) == (0, 0, REGISTERED + 1)
    assert server.traces_of_writes() == before
