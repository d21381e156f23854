"""Real MLflow of several releases and the scheme of roles: migrated as one login, upgraded as the other, all of it one role's."""

import os
import subprocess
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import pytest

from tests.mlflow_image import Answer
from tests.mlflow_versions import HEADS, NEWEST_VERSION, VERSION_BEFORE, mlflow_python
from tests.pod_programs import CHECK_STORE, MIGRATE_STORE, Program
from tests.stores.postgres.pod import Pod
from tests.stores.postgres.world import Row, World, desired, tenant
from tests.waiting import patient
from tracking_operator.resources.stores.postgres import DATABASE_URI
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.usage import RowCounts, count_rows

OBJECTS = """
SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT typname, pg_get_userbyid(typowner) FROM pg_type WHERE typnamespace = 'public'::regnamespace
UNION ALL SELECT proname, pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


LOG_A_RUN = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
run = client.create_run(client.create_experiment("upgraded"), run_name="oldest")
client.log_metric(run.info.run_id, "rmse", 0.5)
client.create_registered_model("model")
print(run.info.run_id)
"""
READ_A_RUN = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
run = client.get_run(sys.argv[2])
assert client.get_registered_model("model").name == "model"
print(run.info.run_name, run.data.metrics["rmse"])
"""


@pytest.fixture
def pods(edge_worlds: list[World], tmp_path_factory: pytest.TempPathFactory) -> list[Pod]:
    """A pod per server; all do the same at the same time, because MLflow takes its time."""
    return [Pod(tmp_path_factory.mktemp("pod"), world, tenant()) for world in edge_worlds]


def log_in_as(pods: list[Pod], login: str) -> None:
    """What the operator does: the login works, and the Secret names it."""
    for pod in pods:
        pod.world.provision(desired(tenant(), login, login=login))
        pod.mount(login, login)


def run(pods: list[Pod], program: Program, version: str, *, times: int = 1) -> list[list[Answer]]:
    """Run a program for each server, in so many pods at once; their answers by server."""
    for pod in pods:
        pod.python = mlflow_python(version)
    with ExitStack() as stack:
        started = [
            [stack.enter_context(pod.running(program, *arguments(pod, version))) for _ in range(times)]
            for pod in pods
        ]
        return [[container.answer() for container in containers] for containers in started]


def arguments(pod: Pod, version: str) -> tuple[str, ...]:
    return ("postgres", str(pod.service_file), f"--version={version}")


def assert_one_of_two_migrated(answers: list[Answer], head: str) -> None:
    assert [(one.exit_code, one.revision) for one in answers] == [(0, head)] * 2, answers
    assert sum("Migrating from" in one.output for one in answers) == 1


def objects(pod: Pod, login: str) -> list[Row]:
    with pod.world.connected(login, login, tenant().database) as connection, connection.cursor() as cursor:
        cursor.execute(OBJECTS)
        return cursor.fetchall()


def upgrade(pods: list[Pod], version: str, login: str) -> None:
    """Bring databases up to a release as one of their logins, by two Jobs at once."""
    log_in_as(pods, login)
    before = [len(objects(pod, login)) for pod in pods]
    for answers in run(pods, MIGRATE_STORE, version, times=2):
        assert_one_of_two_migrated(answers, HEADS[version])
    for pod, number in zip(pods, before, strict=True):
        owned = objects(pod, login)
        assert len(owned) > number
        assert {owner for _, owner in owned} == {tenant().role}
        assert counted(pod, login) == RowCounts(runs=0, models=0), "these are tables that are counted"


def counted(pod: Pod, login: str) -> RowCounts:
    return count_rows(pod.world.server, Login(login, login), tenant(), now=datetime.now(UTC))


def test_two_versions_and_two_logins_migrate_one_database_once_each(pods: list[Pod]) -> None:
    for version, login in zip((VERSION_BEFORE, NEWEST_VERSION), tenant().logins, strict=True):
        upgrade(pods, version, login)

    for (checked,) in run(pods, CHECK_STORE, NEWEST_VERSION):
        assert (checked.exit_code, checked.revision) == (0, HEADS[NEWEST_VERSION])
    for program in (CHECK_STORE, MIGRATE_STORE):
        for (refused,) in run(pods, program, VERSION_BEFORE):
            assert (refused.exit_code, refused.reason) == (24, "SchemaTooNew")


OLDEST_VERSION, *LATER_VERSIONS = HEADS


@pytest.mark.campaign
@pytest.mark.parametrize(
    "later", [LATER_VERSIONS, [NEWEST_VERSION]], ids=["release by release", "past those between"]
)
def test_what_the_oldest_release_has_stored_is_there_in_later_ones(pods: list[Pod], later: list[str]) -> None:
    first, second = tenant().logins
    upgrade(pods, OLDEST_VERSION, first)
    runs = [said(pod, LOG_A_RUN) for pod in pods]
    for version, login in zip(later, cycle([second, first]), strict=False):
        upgrade(pods, version, login)
        assert [said(pod, READ_A_RUN, run) for pod, run in zip(pods, runs, strict=True)] == [
            "oldest 0.5" for _ in pods
        ]


def said(pod: Pod, program: str, *arguments: str) -> str:
    """What a program prints that has the MLflow and the credentials of a pod."""
    environment = os.environ | {"PGSERVICEFILE": str(pod.service_file), "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [str(pod.python), "-c", program, DATABASE_URI, *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=patient(180)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_empty_database_gets_the_newest_schema(one_world: World, tmp_path: Path) -> None:
    pod = Pod(tmp_path, one_world, tenant())
    log_in_as([pod], tenant().logins[0])
    ((answer,),) = run([pod], MIGRATE_STORE, NEWEST_VERSION)
    assert (answer.exit_code, answer.revision) == (0, HEADS[NEWEST_VERSION]), answer.output
    assert {owner for _, owner in objects(pod, tenant().logins[0])} == {tenant().role}
