"""Real MLflow of two versions and the scheme of roles: migrated as one login, upgraded as the other, all of it one role's."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mlflow_image import Answer
from tests.mlflow_versions import mlflow_python
from tests.pod_programs import CHECK_STORE, MIGRATE_STORE, Program
from tests.stores.postgres.pod import Pod
from tests.stores.postgres.world import Row, World, desired, tenant

OLD, OLD_HEAD = "3.16.1", "b7e2c1a4d9f3"
NEW, NEW_HEAD = "3.17.2", "dc11669786a5"

OBJECTS = """
SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT typname, pg_get_userbyid(typowner) FROM pg_type WHERE typnamespace = 'public'::regnamespace
UNION ALL SELECT proname, pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
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


def objects(pod: Pod) -> list[Row]:
    login = tenant().logins[0]
    with pod.world.connected(login, login, tenant().database) as connection, connection.cursor() as cursor:
        cursor.execute(OBJECTS)
        return cursor.fetchall()


def test_two_versions_and_two_logins_migrate_one_database_once_each(pods: list[Pod]) -> None:
    first, second = tenant().logins
    log_in_as(pods, first)
    for answers in run(pods, MIGRATE_STORE, OLD, times=2):
        assert_one_of_two_migrated(answers, OLD_HEAD)
    before = [len(objects(pod)) for pod in pods]

    log_in_as(pods, second)
    for answers in run(pods, MIGRATE_STORE, NEW, times=2):
        assert_one_of_two_migrated(answers, NEW_HEAD)
    for pod, number in zip(pods, before, strict=True):
        owned = objects(pod)
        assert len(owned) > number
        assert {owner for _, owner in owned} == {tenant().role}

    for (checked,) in run(pods, CHECK_STORE, NEW):
        assert (checked.exit_code, checked.revision) == (0, NEW_HEAD)
    for program in (CHECK_STORE, MIGRATE_STORE):
        for (refused,) in run(pods, program, OLD):
            assert (refused.exit_code, refused.reason) == (24, "SchemaTooNew")


def test_an_empty_database_gets_the_newest_schema(one_world: World, tmp_path: Path) -> None:
    pod = Pod(tmp_path, one_world, tenant())
    log_in_as([pod], tenant().logins[0])
    ((answer,),) = run([pod], MIGRATE_STORE, NEW)
    assert (answer.exit_code, answer.revision) == (0, NEW_HEAD), answer.output
    assert {owner for _, owner in objects(pod)} == {tenant().role}
