"""The init container and SQLite: whatever happened before, the file ends at the image's schema or stays as it was."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.mlflow_image import (
    CHAIN,
    HEAD,
    Answer,
    MlflowImage,
    revision_of,
    runs_of,
    tables_of,
    write_database,
)
from tests.pod_programs import CHECK_STORE
from tests.waiting import patient
from tracking_operator.pod_tools import check_backend_store as script
from tracking_operator.pod_tools import checks, sqlite_file

OLD = CHAIN[0]
KILLED = 137
FILE_EVENTS = ("os.rename", "os.remove", "os.link", "sqlite3.connect", "subprocess.Popen", "shutil.copyfile")


@pytest.fixture
def image(tmp_path: Path) -> MlflowImage:
    return MlflowImage.build(tmp_path / "image")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the volume is mounted."""
    volume = tmp_path / "volume"
    volume.mkdir()
    return volume / "mlflow.db"


def check(image: MlflowImage, database: Path, **environment: str) -> Answer:
    return image.check("sqlite", str(database), **environment)


def aside(database: Path, revision: str = OLD, version: str = "3.17.2") -> Path:
    return database.with_name(f"mlflow.db.{revision}.before-{version}")


def names_on_the_volume(database: Path) -> set[str]:
    return {path.name for path in database.parent.iterdir()}


class TestNewStore:
    @pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
    def test_is_made_by_the_migrations_of_the_image(
        self, image: MlflowImage, database: Path, content: bytes | None
    ) -> None:
        if content is not None:
            database.write_bytes(content)
        answer = check(image, database)
        assert (answer.exit_code, answer.reason, answer.revision) == (0, "", HEAD)
        assert revision_of(database) == HEAD
        assert names_on_the_volume(database) == {"mlflow.db"}

    def test_is_a_copy_of_the_one_that_the_image_brings(self, image: MlflowImage, database: Path) -> None:
        write_database(image.empty_database)
        answer = check(image, database, FAKE_MIGRATION_FAILURE="no migration was needed")
        assert answer.exit_code == 0
        assert database.read_bytes() == image.empty_database.read_bytes()

    def test_is_not_copied_from_one_of_another_revision(self, image: MlflowImage, database: Path) -> None:
        write_database(image.empty_database, OLD)
        assert check(image, database).exit_code == 0
        assert revision_of(database) == HEAD
        assert "runs" not in tables_of(database)


class TestExistingStore:
    def test_at_the_revision_of_the_image_is_left_alone(self, image: MlflowImage, database: Path) -> None:
        write_database(database)
        before = database.read_bytes(), database.stat().st_mtime_ns
        answer = check(image, database, FAKE_MIGRATION_FAILURE="no migration was needed")
        assert (answer.exit_code, answer.revision) == (0, HEAD)
        assert (database.read_bytes(), database.stat().st_mtime_ns) == before
        assert names_on_the_volume(database) == {"mlflow.db"}

    @pytest.mark.parametrize("revision", [OLD, CHAIN[1]])
    def test_behind_is_upgraded_and_the_old_file_kept(
        self, image: MlflowImage, database: Path, revision: str
    ) -> None:
        write_database(database, revision)
        before = database.read_bytes()
        answer = check(image, database)
        assert (answer.exit_code, answer.revision) == (0, HEAD)
        assert revision_of(database) == HEAD
        assert runs_of(database) == ["precious"]
        assert aside(database, revision).read_bytes() == before
        assert aside(database, revision).name in answer.output

    def test_without_a_revision_is_upgraded_like_an_old_one(self, image: MlflowImage, database: Path) -> None:
        write_database(database, None)
        assert check(image, database).exit_code == 0
        assert runs_of(database) == ["precious"]
        assert runs_of(aside(database, "unversioned")) == ["precious"]

    def test_that_is_too_new_is_not_touched(self, image: MlflowImage, database: Path) -> None:
        write_database(database, "fff999")
        before = database.read_bytes()
        answer = check(image, database)
        assert answer.reason == "SchemaTooNew"
        assert "fff999" in answer.message
        assert database.read_bytes() == before

    def test_that_is_no_database_is_not_touched(self, image: MlflowImage, database: Path) -> None:
        database.write_bytes(b"a letter, not a database" * 100)
        answer = check(image, database)
        assert answer.reason == "StoreUnreachable"
        assert "file is not a database" in answer.message
        assert database.read_bytes() == b"a letter, not a database" * 100

    def test_whose_migration_fails_is_not_touched_and_the_log_has_all_of_it(
        self, image: MlflowImage, database: Path
    ) -> None:
        write_database(database, OLD)
        before = database.read_bytes()
        failure = "Traceback (most recent call last):\nsqlalchemy.exc.OperationalError: no such column: x"
        answer = check(image, database, FAKE_MIGRATION_FAILURE=failure)
        assert answer.reason == "MigrationFailed"
        assert "no such column: x" in answer.message
        assert failure in answer.output
        assert database.read_bytes() == before

    def test_of_a_server_that_was_killed_while_it_wrote_is_repaired(
        self, image: MlflowImage, database: Path
    ) -> None:
        write_database(database)
        leave_hot_journal(database)
        assert database.with_name("mlflow.db-journal").stat().st_size
        answer = check(image, database)
        assert (answer.exit_code, answer.message) == (0, f"The backend store is at revision {HEAD}.")
        assert set(runs_of(database)) == {"precious"}

    def test_with_a_write_ahead_log_loses_nothing_of_it(self, image: MlflowImage, database: Path) -> None:
        write_database(database, OLD)
        leave_write_ahead_log(database)
        assert check(image, database).exit_code == 0
        assert runs_of(database) == ["precious", "in the log"]
        assert revision_of(database) == HEAD


class TestWrongImage:
    def test_of_another_version_is_refused_before_the_store_is_touched(
        self, tmp_path: Path, database: Path
    ) -> None:
        answer = check(MlflowImage.build(tmp_path / "old", version="3.16.1"), database)
        assert answer.reason == "ImageVersionMismatch"
        assert "holds MLflow 3.16.1, but version 3.17.2 is asked for" in answer.message
        assert not database.exists()

    def test_without_mlflow_is_refused(self, tmp_path: Path, database: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        answer = check(MlflowImage(empty), database)
        assert answer.reason == "ImageVersionMismatch"
        assert "holds MLflow none" in answer.message


def run_and_kill(image: MlflowImage, database: Path, event: int) -> int:
    """Run the check in a child that is killed when it is about to do its n-th step on the file system."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        os.environ.update(image.environment())
        sys.path.insert(0, str(image.folder))
        checks.TERMINATION_LOG, sqlite_file.EMPTY_DATABASE = image.termination_log, image.empty_database
        sys.addaudithook(dying_at(event, str(database)))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(script.main(["sqlite", str(database), "--version=3.17.2"]))
    finally:
        os._exit(99)


def dying_at(event: int, place: str) -> Callable[[str, tuple[object, ...]], None]:
    seen = 0

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        is_on_volume = any(place in str(argument) for argument in arguments)
        if is_on_volume and (name in FILE_EVENTS or name == "open"):
            seen += 1
            if seen == event:
                os._exit(KILLED)

    return hook


def kill_at_every_step(image: MlflowImage, database: Path, prepare: Callable[[], None]) -> int:
    """Prepare, kill at the n-th step, run again, compare with an undisturbed run; for every n. Returns their number."""
    prepare()
    assert check(image, database).exit_code == 0
    undisturbed = state_of(database)
    for step in range(1, 100):
        for path in database.parent.iterdir():
            path.unlink()
        prepare()
        if run_and_kill(image, database, step) == 0:
            return step - 1
        again = run_and_kill(image, database, 0)
        assert again == 0, f"killed at step {step}, the next run ends with {again}"
        assert state_of(database) == undisturbed, f"killed at step {step}"
    raise AssertionError("the check does not come to an end")


def state_of(database: Path) -> dict[str, tuple[str, set[str], list[str]]]:
    """What is on the volume, as far as it matters to a user."""
    return {
        path.name: (
            revision_of(path),
            tables_of(path),
            runs_of(path) if "runs" in tables_of(path) else [],
        )
        for path in sorted(database.parent.iterdir())
    }


class TestInterruption:
    def test_at_any_step_of_an_upgrade_changes_nothing_about_its_end(
        self, image: MlflowImage, database: Path
    ) -> None:
        assert kill_at_every_step(image, database, lambda: write_database(database, OLD)) >= 8

    def test_at_any_step_of_a_creation_changes_nothing_about_its_end(
        self, image: MlflowImage, database: Path
    ) -> None:
        write_database(image.empty_database)
        assert kill_at_every_step(image, database, lambda: None) >= 3

    def test_at_any_step_of_a_creation_by_migrations_changes_nothing_about_its_end(
        self, image: MlflowImage, database: Path
    ) -> None:
        assert kill_at_every_step(image, database, lambda: None) >= 3

    @pytest.mark.parametrize("revision", [OLD, None])
    def test_in_the_middle_of_the_migrations_leaves_the_store_as_it_was(
        self, image: MlflowImage, database: Path, revision: str | None
    ) -> None:
        if revision:
            write_database(database, revision)
        died = check(image, database, FAKE_MIGRATION_DIES="1")
        assert died.reason == "MigrationFailed"
        assert database.exists() == (revision is not None)
        if revision:
            assert revision_of(database) == revision
        assert check(image, database).exit_code == 0
        assert revision_of(database) == HEAD


class TestFullVolume:
    """On a file system of a few hundred KiB, mounted where only the script sees it."""

    PREPARE_AND_CHECK = """
        mount -t tmpfs -o size={size}k none "$0" || exit 90
        cp "$1" "$0/mlflow.db" || exit 91
        "$2" "$3" "$4" sqlite "$0/mlflow.db" --version=3.17.2; code=$?
        cp "$0"/mlflow.db "$1.after"; ls "$0" > "$1.names"
        exit $code
    """

    def check(self, image: MlflowImage, database: Path, size: int) -> Answer:
        original = image.folder / "original.db"
        shutil.copyfile(database, original)
        alone = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
        command = self.PREPARE_AND_CHECK.format(size=size)
        paths = [str(database.parent), str(original), sys.executable, *CHECK_STORE]
        done = subprocess.run(
            ["unshare", *alone, "sh", "-c", command, *paths],
            env=image.environment(),
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )
        assert done.returncode not in (90, 91), f"no small file system could be mounted: {done.stderr}"
        return image.answer(done.returncode, done.stdout + done.stderr)

    def test_is_reported_as_such_and_the_store_stays_as_it_was(
        self, image: MlflowImage, database: Path
    ) -> None:
        write_large_database(database)
        answer = self.check(image, database, size=database.stat().st_size // 1024 + 100)
        assert (answer.exit_code, answer.reason) == (26, "VolumeFull")
        assert "raise spec.backendStore.sqlite.size" in answer.message
        assert (image.folder / "original.db.after").read_bytes() == database.read_bytes()
        assert (image.folder / "original.db.names").read_text().split() == ["mlflow.db"]

    def test_with_just_enough_room_is_none(self, image: MlflowImage, database: Path) -> None:
        write_large_database(database)
        answer = self.check(image, database, size=3 * database.stat().st_size // 1024 + 200)
        assert answer.exit_code == 0

    def test_does_not_keep_a_store_that_needs_no_upgrade_from_starting(
        self, image: MlflowImage, database: Path
    ) -> None:
        write_large_database(database, HEAD)
        answer = self.check(image, database, size=database.stat().st_size // 1024 + 8)
        assert answer.exit_code == 0


def write_large_database(database: Path, revision: str = OLD) -> None:
    write_database(database, revision)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 1000,)] * 400)


def leave_hot_journal(database: Path) -> None:
    """Die as a server that is killed in the middle of a transaction which has begun to reach the file."""
    child = os.fork()
    if child == 0:
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO runs VALUES (?)", [("unfinished" * 100,)] * 500)
        os._exit(KILLED)
    os.waitpid(child, 0)


def leave_write_ahead_log(database: Path) -> None:
    """Die as a server that had its last runs in the write-ahead log only."""
    child = os.fork()
    if child == 0:
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO runs VALUES ('in the log')")
        os._exit(KILLED)
    os.waitpid(child, 0)
