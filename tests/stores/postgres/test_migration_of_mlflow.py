"""Real MLflow of two versions and the scheme of roles: migrated as one login, upgraded as the other, all of it one role's."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mlflow_image import CHECK_SCRIPT, MIGRATE_SCRIPT, Answer
from tests.mlflow_versions import mlflow_python
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
def pod(edge_world: World, tmp_path: Path) -> Pod:
    return Pod(tmp_path, edge_world, tenant())


def log_in_as(pod: Pod, login: str) -> None:
    """What the operator does: the login works, and the Secret names it."""
    pod.world.provision(desired(tenant(), login, login=login))
    pod.mount(login, login)


def run(pod: Pod, script: Path, version: str, *, times: int = 1) -> list[Answer]:
    """Run a script in so many pods at once."""
    pod.python = mlflow_python(version)
    arguments = (script, "postgres", str(pod.service_file), f"--version={version}")
    with ExitStack() as stack:
        containers = [stack.enter_context(pod.running(*arguments)) for _ in range(times)]
        return [container.answer() for container in containers]


def objects(pod: Pod) -> list[Row]:
    login = tenant().logins[0]
    with pod.world.connected(login, login, tenant().database) as connection, connection.cursor() as cursor:
        cursor.execute(OBJECTS)
        return cursor.fetchall()


def test_two_versions_and_two_logins_migrate_one_database_once_each(pod: Pod) -> None:
    first, second = tenant().logins
    log_in_as(pod, first)
    answers = run(pod, MIGRATE_SCRIPT, OLD, times=2)
    assert [(one.exit_code, one.revision) for one in answers] == [(0, OLD_HEAD)] * 2, answers
    assert sum("Migrating from" in one.output for one in answers) == 1
    tables_before = objects(pod)

    log_in_as(pod, second)
    answers = run(pod, MIGRATE_SCRIPT, NEW, times=2)
    assert [(one.exit_code, one.revision) for one in answers] == [(0, NEW_HEAD)] * 2, answers
    assert sum("Migrating from" in one.output for one in answers) == 1

    owned = objects(pod)
    assert len(owned) > len(tables_before)
    assert {owner for _, owner in owned} == {tenant().role}

    (checked,) = run(pod, CHECK_SCRIPT, NEW)
    assert (checked.exit_code, checked.revision) == (0, NEW_HEAD)
    for script in (CHECK_SCRIPT, MIGRATE_SCRIPT):
        (refused,) = run(pod, script, OLD)
        assert (refused.exit_code, refused.reason) == (24, "SchemaTooNew")


def test_an_empty_database_gets_the_newest_schema(one_world: World, tmp_path: Path) -> None:
    pod = Pod(tmp_path, one_world, tenant())
    log_in_as(pod, tenant().logins[0])
    (answer,) = run(pod, MIGRATE_SCRIPT, NEW)
    assert (answer.exit_code, answer.revision) == (0, NEW_HEAD), answer.output
    assert {owner for _, owner in objects(pod)} == {tenant().role}
