"""Real MLflow with its own login: the tables, the admin, what is open without a login, and passwords that change."""

import asyncio
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import urllib3
from werkzeug.security import check_password_hash

from dev.loopback import free_port
from tests.mlflow_image import Answer
from tests.mlflow_versions import (
    HEADS,
    LOGIN_HEAD,
    MLFLOW_VERSION,
    NEWEST_VERSION,
    VERSION_BEFORE,
    mlflow_python,
)
from tests.pod_programs import CHECK_STORE, MIGRATE_STORE, PREPARE_LOGIN, RESET_LOGIN, START_SERVER, Program
from tests.stores.mlflow_routes import not_refused, routes_of
from tests.stores.postgres.conftest import WANTED, tidied
from tests.stores.postgres.pod import Pod
from tests.stores.postgres.world import World, desired, tenant
from tests.waiting import patient, wait_until
from tracking_operator.api.server_access import ClientPermission, Permission
from tracking_operator.controllers.server.clients.memory import ClientsMemory, Opening
from tracking_operator.controllers.server.clients.users import ClientUsers, WantedUser
from tracking_operator.mlflow.client import ALREADY_EXISTS, Login, MlflowApi, Target
from tracking_operator.mlflow.client import Answer as Reply
from tracking_operator.naming.client_users import ClientIdentity
from tracking_operator.resources.server_model import CONNECTION_LIMIT_WITH_LOGIN
from tracking_operator.resources.stores.postgres import DATABASE_URI
from tracking_operator.stores.postgres.pool import UNBOUNDED, pool_size

pytestmark = pytest.mark.each_mlflow

VERSION = MLFLOW_VERSION
HEAD = HEADS[VERSION]

PASSWORD = "p%ss of the database"
ADMIN = Login("admin", "password%-of-the-admin-with-32-c")
USER = Login("jobs", "password-of-the-ordinary-user-32")
SECRET_KEY = "key-of-flask-that-replicas-share"
PREFIX = "/team-a"

SECONDS_TO_START = 400
AT_ONCE = 5
"""Requests; each of them takes two connections at a time."""


def mount_login(folder: Path, password: str = ADMIN.password, **more: str) -> None:
    """Sync the Secret of the login, as the kubelet does."""
    place = folder / "login"
    place.mkdir(exist_ok=True)
    contents = {"username": ADMIN.username, "password": password, "secretKey": SECRET_KEY} | more
    for file in place.iterdir():
        if file.name not in contents:
            file.unlink()
    for name, text in contents.items():
        (place / name).write_text(text)


def ask(target: Target, login: Login | None = None, method: str = "answer", **arguments: Login) -> Reply:
    """One request through the operator's own client."""

    async def request() -> Reply:
        api = MlflowApi()
        try:
            found: Reply = await getattr(api, method)(target, *filter(None, [login]), **arguments)
            return found
        finally:
            await api.close()

    return asyncio.run(request())


def post(target: Target, path: str, body: dict[str, object]) -> dict[str, Any]:
    """A request of the admin's that has to succeed, and what comes back."""
    answer = urllib3.request(
        "POST",
        f"{target.url}/api/2.0/mlflow/{path}",
        json=body,
        headers=urllib3.make_headers(basic_auth=f"{ADMIN.username}:{ADMIN.password}"),
        retries=False,
        timeout=patient(60),
    )
    assert answer.status == 200, answer.data
    return dict(answer.json())


def status_of(url: str, *options: str) -> int:
    """The status of a request that is no business of the operator's."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "60", *options, url]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def wanted_client(permission: ClientPermission) -> WantedUser:
    """The user of a client that nobody had before."""
    identity = ClientIdentity(
        "server", "pipelines", "namespace", "runs", secrets.token_hex(4), permission.value
    )
    return WantedUser(identity.username, permission)


def opening_of(target: Target) -> Opening:
    """How clients get into a server that gives every user READ."""
    return Opening(target, target.url, target.url, True, True, Permission.READ, ADMIN)


def clients_made(target: Target, memory: ClientsMemory, *wanted: WantedUser) -> list[Login]:
    """Have a server let clients in, each by its own user."""

    async def make() -> list[Login]:
        api = MlflowApi()
        try:
            users = ClientUsers(api)
            return [
                Login(one.username, await users.ensure(memory, opening_of(target), one, None, lambda: True))
                for one in wanted
            ]
        finally:
            await api.close()

    return asyncio.run(make())


def clients_left(target: Target, memory: ClientsMemory, *wanted: WantedUser) -> None:
    """Have a server let in these clients only."""
    names = frozenset(one.username for one in wanted)

    async def delete() -> None:
        api = MlflowApi()
        try:
            await ClientUsers(api).delete_unwanted(memory, opening_of(target), lambda: names)
        finally:
            await api.close()

    asyncio.run(delete())


@contextmanager
def serving(folder: Path, uri: str, prefix: str, **environment: str) -> Iterator[Target]:
    """Run a server as its container does, until it answers."""
    port, scratch = free_port(), folder / f"scratch-{os.urandom(4).hex()}"
    scratch.mkdir()
    program = scratch / "mlflow"
    program.write_text(f'#!/bin/sh\nexec {mlflow_python(VERSION)} -m mlflow "$@"\n')
    program.chmod(0o755)
    variables = {
        "PATH": f"{scratch}:/usr/bin:/bin",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "TRACKING_OPERATOR_CREDENTIALS": str(folder),
        "TRACKING_OPERATOR_DEFAULT_PERMISSION": "READ",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    arguments = [
        "server", "--host=127.0.0.1", f"--port={port}", "--workers=1", f"--backend-store-uri={uri}",
        "--serve-artifacts", f"--artifacts-destination={folder}/artifacts", "--app-name=basic-auth",
        *([f"--static-prefix={prefix}"] if prefix else []),
    ]  # fmt: skip
    with (scratch / "log").open("w+b") as log:
        process = subprocess.Popen(
            [mlflow_python(VERSION), *START_SERVER, *arguments],
            env=variables | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        url = f"http://127.0.0.1:{port}{prefix}"
        try:
            wait_until(
                lambda: process.poll() is not None or status_of_or_none(f"{url}/health") == 200,
                SECONDS_TO_START,
                "a server that is up",
            )
            assert process.poll() is None, (scratch / "log").read_text()
            yield Target(url)
        finally:
            process.terminate()
            process.wait(patient(180))


def status_of_or_none(url: str) -> int | None:
    try:
        return status_of(url)
    except subprocess.CalledProcessError:
        return None


@pytest.fixture(scope="module")
def pod(worlds: dict[str, World], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod whose database exists and is empty, with both Secrets mounted."""
    with contextmanager(tidied)(worlds[WANTED[-1]]) as world:
        world.provision(desired(tenant(), PASSWORD, connection_limit=CONNECTION_LIMIT_WITH_LOGIN))
        folder = tmp_path_factory.mktemp("login")
        mount_login(folder)
        image = {"TRACKING_OPERATOR_CREDENTIALS": str(folder)}
        found = Pod(folder, world, tenant(), python=mlflow_python(VERSION), image=image)
        found.mount(tenant().logins[0], PASSWORD)
        yield found


@pytest.fixture(scope="module")
def prepared(pod: Pod) -> list[Answer]:
    """What two Jobs say that prepare the empty database at the same time."""
    arguments = ("postgres", str(pod.service_file), f"--version={VERSION}", "--login")
    with ExitStack() as stack:
        jobs = [stack.enter_context(pod.running(MIGRATE_STORE, *arguments)) for _ in range(2)]
        return [job.answer() for job in jobs]


@pytest.fixture(scope="module")
def replicas(pod: Pod, prepared: list[Answer]) -> Iterator[list[Target]]:
    """Two servers that start at once on one database; the second is at the root, as one is while a prefix is changed."""
    assert all(answer.exit_code == 0 for answer in prepared), prepared
    size = pool_size(CONNECTION_LIMIT_WITH_LOGIN, workers=1, has_login=True)
    environment = {
        "PGSERVICEFILE": str(pod.service_file),
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(size),
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(UNBOUNDED),
    }
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        starting = [
            threads.submit(stack.enter_context, serving(pod.folder, DATABASE_URI, prefix, **environment))
            for prefix in (PREFIX, "")
        ]
        yield [start.result() for start in starting]


class TestOnPostgres:
    def test_two_jobs_at_once_prepare_schema_and_login_once(self, prepared: list[Answer]) -> None:
        assert [(one.exit_code, one.revision) for one in prepared] == [(0, HEAD)] * 2, prepared
        assert sum("Created admin user" in one.output for one in prepared) == 1
        assert not any(ADMIN.password in one.output for one in prepared)

    def test_a_pod_may_start_then_and_says_at_which_revisions(self, pod: Pod, prepared: list[Answer]) -> None:
        with pod.running(
            CHECK_STORE, "postgres", str(pod.service_file), f"--version={VERSION}", "--login"
        ) as check:
            assert check.answer().exit_code == 0
            assert f'"loginRevision": "{LOGIN_HEAD}"' in check.termination_log.read_text()

    def test_every_replica_lets_its_users_in_and_nobody_else(self, replicas: list[Target]) -> None:
        assert ask(replicas[0], ADMIN, "create_user", user=USER).is_ok
        again = ask(replicas[1], ADMIN, "create_user", user=USER)
        assert (again.status, again.error_code) == (400, ALREADY_EXISTS)
        for replica in replicas:
            assert ask(replica, USER).is_ok
            assert ask(replica, USER, "log_in").is_ok
            assert ask(replica).is_refused_login
            assert ask(replica, Login("jobs", "another-password-of-32-characters")).is_refused_login
            assert ask(replica, Login("nobody", USER.password)).is_refused_login

    def test_without_a_login_only_health_and_what_a_page_is_made_of_is_open(
        self, pod: Pod, replicas: list[Target]
    ) -> None:
        login_file = next(pod.folder.glob("scratch-*/login.ini"))
        routes = routes_of(mlflow_python(VERSION), login_file, pod.service_file)
        assert len(routes) > 400
        gone = {path: {404} for _, path in routes if "/mlflow/assistant/" in path}
        for replica in replicas:
            assert not_refused(replica.url, routes) == OPEN | gone, replica.url
        bare = not_refused(replicas[0].url.removesuffix(PREFIX), routes)
        assert {path for path, statuses in bare.items() if min(statuses) < 300} <= set(OPEN)

    def test_batches_that_come_at_the_same_time_do_not_wait_for_each_others_connections(
        self, replicas: list[Target]
    ) -> None:
        server = replicas[0]
        experiment = post(server, "experiments/create", {"name": f"many-at-once-{secrets.token_hex(4)}"})[
            "experiment_id"
        ]
        runs = [
            post(server, "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
            for _ in range(AT_ONCE)
        ]

        def log(run: str) -> None:
            for step in range(10):
                metrics = [{"key": "loss", "value": 0.5, "timestamp": 1, "step": step}]
                post(server, "runs/log-batch", {"run_id": run, "metrics": metrics})

        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(log, runs))

    def test_an_ordinary_user_reads_and_does_not_write_what_is_anothers(self, replicas: list[Target]) -> None:
        url, user = replicas[0].url, f"{USER.username}:{USER.password}"
        run = ["-X", "POST", "-H", "Content-Type: application/json", "-d", '{"experiment_id": "0"}']
        assert status_of(f"{url}/api/2.0/mlflow/runs/create", "-u", user, *run) == 403
        name = json.dumps({"name": f"of the user {secrets.token_hex(4)}"})
        own = ["-X", "POST", "-H", "Content-Type: application/json", "-d", name]
        assert status_of(f"{url}/api/2.0/mlflow/experiments/create", "-u", user, *own) == 200
        assert status_of(f"{url}/api/2.0/mlflow/users/create", "-u", user, *own) == 403
        assert status_of(f"{url}/", "-u", user) == 200

    def test_users_of_clients_may_what_they_ask_for_until_nobody_wants_them(
        self, replicas: list[Target]
    ) -> None:
        """The servers' default permission is READ; experiment 0 is nobody's."""
        editor, reader = (
            wanted_client(permission) for permission in (ClientPermission.EDIT, ClientPermission.READ)
        )
        people = Login(f"client-by-hand-{secrets.token_hex(4)}", "password-of-a-person-of-32-chars")
        assert ask(replicas[0], ADMIN, "create_user", user=people).is_ok
        memory = ClientsMemory(users=frozenset())
        logins = clients_made(replicas[0], memory, editor, reader)
        create = ["-X", "POST", "-H", "Content-Type: application/json", "-d", '{"experiment_id": "0"}']
        tried = {
            one.username: [
                status_of(
                    f"{replica.url}/api/2.0/mlflow/{path}", "-u", f"{one.username}:{one.password}", *options
                )
                for replica in replicas
                for path, options in (("experiments/get?experiment_id=0", []), ("runs/create", create))
            ]
            for one in logins
        }
        assert tried == {editor.username: [200] * 4, reader.username: [200, 403] * 2}

        clients_left(replicas[0], memory, reader)
        assert [ask(replicas[0], one, "log_in").status for one in (*logins, people, USER)] == [
            401,
            200,
            200,
            200,
        ]
        clients_left(replicas[0], memory)
        assert [ask(replicas[0], one, "log_in").status for one in (*logins, people, USER)] == [
            401,
            401,
            200,
            200,
        ]

    def test_passwords_change_through_the_api(self, replicas: list[Target]) -> None:
        target = replicas[0]
        new = Login("jobs", "another-password-of-the-user-32c")
        assert ask(target, ADMIN, "update_password", user=new).is_ok
        assert ask(target, new).is_ok
        assert ask(target, USER).is_refused_login
        assert ask(target, ADMIN, "update_password", user=USER).is_ok
        other = Login("admin", "another-password-of-the-admin-32")
        assert ask(target, ADMIN, "update_password", user=other).is_ok
        assert ask(target, other, "log_in").is_ok
        refused = ask(target, ADMIN, "update_password", user=other)
        assert not refused.is_ok
        assert ask(target, other, "update_password", user=ADMIN).is_ok

    def test_nobody_else_reads_the_settings(self, pod: Pod, replicas: list[Target]) -> None:
        files = list(pod.folder.glob("scratch-*/login.ini"))
        assert len(files) == len(replicas)
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}

    def test_a_new_server_on_an_old_database_has_its_admin_let_in(
        self, pod: Pod, replicas: list[Target]
    ) -> None:
        mount_login(pod.folder, "password-of-the-next-server-32-c")
        arguments = ("postgres", str(pod.service_file), f"--version={VERSION}", "--login")
        assert pod.run(MIGRATE_STORE, *arguments).exit_code == 0
        assert ask(replicas[0], Login("admin", "password-of-the-next-server-32-c"), "log_in").is_ok
        mount_login(
            pod.folder, "password-before-a-rotation-32-ch", nextPassword="password-of-the-next-server-32-c"
        )
        assert "has the password of the Secret" not in pod.run(MIGRATE_STORE, *arguments).output
        mount_login(pod.folder)

    def test_in_somebody_elses_database_nobodys_password_is_changed(
        self, pod: Pod, prepared: list[Answer]
    ) -> None:
        assert prepared[0].exit_code == 0
        login, port = tenant().logins[0], pod.world.running.port
        uri = f"postgresql+psycopg2://{login}:{quote(PASSWORD)}@localhost:{port}/{tenant().database}?sslmode=require"
        mounted = pod.folder / "external"
        mounted.mkdir(exist_ok=True)
        (mounted / "uri").write_text(uri)
        mount_login(pod.folder, "password-of-somebody-else-32-chars")
        arguments = ("external", str(mounted / "uri"), f"--version={VERSION}", "--login")
        for script in (MIGRATE_STORE, CHECK_STORE):
            answer = pod.run(script, *arguments)
            assert (answer.exit_code, answer.revision) == (0, HEAD), answer
            assert "has the password of the Secret" not in answer.output
            assert quote(PASSWORD) not in answer.output
        mount_login(pod.folder)

    def test_the_job_gives_a_running_server_the_password_of_the_secret(
        self, pod: Pod, replicas: list[Target]
    ) -> None:
        other, later = (
            Login("admin", "password-of-a-new-secret-of-32-ch"),
            "next-password-of-a-secret-32-char",
        )
        arguments = ("postgres", str(pod.service_file), f"--version={VERSION}", "--login")
        mount_login(pod.folder, other.password)
        assert ask(replicas[0], other, "log_in").is_refused_login
        said = pod.run(RESET_LOGIN, *arguments)
        assert (said.exit_code, said.reason) == (0, ""), said
        assert all(ask(replica, other, "log_in").is_ok for replica in replicas)
        mount_login(pod.folder, "password-out-of-an-old-backup-32", nextPassword=later)
        assert pod.run(RESET_LOGIN, *arguments).exit_code == 0
        assert ask(replicas[1], Login("admin", later), "log_in").is_ok
        mount_login(pod.folder)
        assert pod.run(RESET_LOGIN, *arguments).exit_code == 0
        assert ask(replicas[0], ADMIN, "log_in").is_ok

    def test_who_has_lost_the_password_gets_that_of_the_secret(
        self, pod: Pod, replicas: list[Target]
    ) -> None:
        scratch = next(pod.folder.glob("scratch-*"))
        forgotten = Login("admin", "password-that-was-forgotten-32-ch")
        for login in (forgotten, ADMIN):
            mount_login(pod.folder, login.password)
            said = pod.run(PREPARE_LOGIN, "--reset", TMPDIR=str(scratch))
            assert (said.exit_code, "has the password of the Secret" in said.output) == (0, True), said
            assert ask(replicas[0], login, "log_in").is_ok


SERVER_INFO = {"/api/3.0/mlflow/server-info": {200}, "/ajax-api/3.0/mlflow/server-info": {200}}
"""How the server is set up, which 3.16.1 tells nobody without a login."""
OPEN = {"/health": {200}, "/static-files/<path:path>": {404}} | ({} if VERSION == "3.16.1" else SERVER_INFO)
"""The routes that need no login: there is no file of the name that is asked for."""


def test_on_sqlite_the_pod_itself_prepares_the_login_and_upgrades(tmp_path: Path) -> None:
    version = VERSION_BEFORE
    database = tmp_path / "mlflow.db"
    mount_login(tmp_path)
    first = check_sqlite(database, version)
    assert first.exit_code == 0, first
    inode = database.stat().st_ino
    assert check_sqlite(database, version).exit_code == 0
    assert database.stat().st_ino == inode, "what is prepared is not prepared again"
    assert [path.name for path in tmp_path.glob("mlflow.db*")] == ["mlflow.db"]

    mount_login(tmp_path, "password-of-the-next-server-32-c")
    assert check_sqlite(database, version).exit_code == 0
    assert database.stat().st_ino != inode
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT username, is_admin FROM users").fetchall() == [("admin", 1)]
        assert connection.execute("SELECT version_num FROM alembic_version_auth").fetchone()

    assert check_sqlite(database, NEWEST_VERSION).exit_code == 0
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT username, is_admin FROM users").fetchall() == [("admin", 1)]
        upgraded = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert upgraded == (HEADS[NEWEST_VERSION],)


@pytest.fixture(scope="module")
def prepared_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the login's tables and an admin, made once: MLflow takes its time."""
    database = tmp_path_factory.mktemp("sqlite") / "mlflow.db"
    mount_login(database.parent)
    assert check_sqlite(database, VERSION).exit_code == 0
    return database


@pytest.fixture
def database(prepared_sqlite: Path, tmp_path: Path) -> Path:
    """Such a database of one's own, beside its Secret."""
    mount_login(tmp_path)
    return Path(shutil.copy(prepared_sqlite, tmp_path))


def test_on_sqlite_the_job_writes_the_file_that_a_server_has_open(database: Path, tmp_path: Path) -> None:
    inode, query = database.stat().st_ino, "SELECT password_hash FROM users WHERE username = 'admin'"
    with closing(sqlite3.connect(database)) as server:
        before = server.execute(query).fetchone()
        mount_login(tmp_path, "password-of-a-new-secret-of-32-ch")
        said = check_sqlite(database, VERSION, RESET_LOGIN)
        assert (said.exit_code, '"reason": ""' in said.message) == (0, True), said
        assert server.execute(query).fetchone() != before
    assert database.stat().st_ino == inode
    database.unlink()
    assert "SchemaMissing" in check_sqlite(database, VERSION, RESET_LOGIN).message


def test_the_job_makes_the_user_of_the_teams_programs_and_gives_it_the_password_of_the_secret(
    database: Path, tmp_path: Path
) -> None:
    found = []
    for password in ("password-of-the-team-32-characters", "another-one-of-the-team-32-chars"):
        mount_login(tmp_path, clientUsername="team", clientPassword=password)
        said = check_sqlite(database, VERSION, RESET_LOGIN)
        assert said.exit_code == 0, said
        assert password not in said.output
        with closing(sqlite3.connect(database)) as server:
            query = "SELECT password_hash, is_admin FROM users WHERE username = 'team'"
            (password_hash, is_admin) = server.execute(query).fetchone()
        assert not is_admin
        assert check_password_hash(password_hash, password)
        found.append(password_hash)
    assert len(set(found)) == 2

    # A new user: 3.16.1 takes any password for one that there is.
    mount_login(tmp_path, clientUsername="other", clientPassword="short")
    assert check_sqlite(database, VERSION, RESET_LOGIN).exit_code != 0, "MLflow does not take it"
    assert check_sqlite(database, VERSION).exit_code == 0, "the server starts all the same"


def check_sqlite(database: Path, version: str, program: Program = CHECK_STORE) -> Answer:
    log = database.with_name("termination-log")
    done = subprocess.run(
        [mlflow_python(version), *program, "sqlite", database, f"--version={version}", "--login"],
        env=os.environ
        | {
            "TRACKING_OPERATOR_CREDENTIALS": str(database.parent),
            "TRACKING_OPERATOR_TERMINATION_LOG": str(log),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(180),
    )
    output = done.stdout + done.stderr
    assert ADMIN.password not in output
    return Answer(done.returncode, "", log.read_text(), "", output)
