"""The pod scripts, as far as they are plain functions; what they do to stores is tested in tests/stores."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.mlflow_image import MlflowImage
from tests.pod_programs import START_SERVER
from tests.unit.examples import model
from tests.waiting import patient
from tracking_operator.outcomes import EXIT_CODES, TERMINAL_EXIT_CODES
from tracking_operator.pod_tools import checks, database_servers, s3, schema_revision, start_server
from tracking_operator.pod_tools import migrate_backend_store as migrate
from tracking_operator.pod_tools.programs import S3_ENDPOINT_VARIABLES, SETTINGS_OF_OTHER_SERVERS
from tracking_operator.pod_tools.start_server import (
    credentials_environment,
    settings_of_other_servers,
)
from tracking_operator.resources.pod.server_pod import server_arguments
from tracking_operator.store_answers import OBJECT_STORE_CODES, Answer

KUBELET_KEEPS = 4096  # bytes of a termination log

FIRST = 'revision = "aaa"\ndown_revision = None\n'


class TestMigrations:
    @pytest.mark.parametrize(
        "second",
        [
            'revision = "bbb"\ndown_revision = "aaa"\n',
            "revision = 'bbb'\ndown_revision = 'aaa'\n",
            'revision: str = "bbb"\ndown_revision: str | None = "aaa"\n',
            'revision: str = "bbb"\ndown_revision: Union[str, None] = "aaa"\n',
            'revision = "bbb"\ndown_revision = ("aaa",)\n',
        ],
    )
    def test_are_read_however_alembic_writes_them(self, second: str) -> None:
        assert schema_revision.migrations_in([FIRST, second]) == schema_revision.Migrations(
            frozenset({"aaa", "bbb"}), "bbb"
        )

    def test_that_merge_two_branches_have_one_head(self) -> None:
        branches = [f'revision = "{name}"\ndown_revision = "aaa"\n' for name in ("bbb", "ccc")]
        merge = 'revision = "ddd"\ndown_revision = ("bbb", "ccc")\n'
        assert schema_revision.migrations_in([FIRST, *branches, merge]).head == "ddd"

    @pytest.mark.parametrize("scripts", [[], ["nothing"], [FIRST, FIRST.replace("aaa", "bbb")]])
    def test_without_exactly_one_head_are_refused(self, scripts: list[str]) -> None:
        with pytest.raises(checks.CheckFailed, match="heads, not one") as refused:
            schema_revision.migrations_in(scripts)
        assert refused.value.reason == "MigrationFailed"


class TestReport:
    @pytest.fixture
    def log(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(checks, "TERMINATION_LOG", tmp_path / "log")
        return tmp_path / "log"

    def test_says_the_same_by_exit_code_and_by_message(self, log: Path) -> None:
        assert checks.report("VolumeFull", "No room.") == 26
        assert json.loads(log.read_text()) == {"reason": "VolumeFull", "message": "No room.", "revision": ""}

    def test_of_success_has_the_revision(self, log: Path) -> None:
        assert checks.report("", "Fine.", "abc") == 0
        assert json.loads(log.read_text())["revision"] == "abc"

    @pytest.mark.parametrize("character", ["x", "ä", "😀", "\x00", '"'])
    def test_is_never_cut_by_kubelet_into_something_unreadable(self, log: Path, character: str) -> None:
        checks.report("StoreUnreachable", character * 10_000)
        assert len(log.read_bytes()) < KUBELET_KEEPS

    def test_outside_a_pod_needs_no_termination_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checks, "TERMINATION_LOG", Path("/nowhere/at/all"))
        assert checks.report("", "Fine.", "abc") == 0


class TestExitCodes:
    def test_differ_and_are_none_that_python_or_a_signal_gives(self) -> None:
        codes = list(EXIT_CODES.values())
        assert len(set(codes)) == len(codes)
        assert all(3 <= code < 125 for code in codes)

    def test_after_which_jobs_give_up_are_none_that_a_signal_gives(self) -> None:
        assert max(TERMINAL_EXIT_CODES) <= migrate.KILLED


class TestConnectionFailures:
    @pytest.mark.parametrize(
        ("text", "reason", "passing"),
        [
            ('FATAL: password authentication failed for user "x"', "LoginRefused", False),
            ('FATAL: database "x" does not exist', "LoginRefused", False),
            (
                "(1045, \"Access denied for user 'x'@'10.0.0.1' (using password: YES)\")",
                "LoginRefused",
                False,
            ),
            ('FATAL: no pg_hba.conf entry for host "10.0.0.1"', "LoginRefused", False),
            ("permission denied for table alembic_version", "LoginRefused", False),
            ("connection refused\n\tIs the server running on that host?", "StoreUnreachable", True),
            ('could not translate host name "db" to address', "HostNotFound", True),
            ("FATAL: the database system is starting up", "StoreUnreachable", True),
            ("FATAL: sorry, too many clients already", "TooManyConnections", True),
            ('FATAL: database "x" is not currently accepting connections', "StoreFailed", True),
            ('FATAL: cannot connect to invalid database "x"', "StoreFailed", True),
            ("SSL error: certificate verify failed", "TlsFailed", False),
            ("could not write: No space left on device", "DiskFull", False),
            ('invalid dsn: invalid connection option "passwort"', "UnsupportedUri", False),
        ],
    )
    def test_are_told_apart_by_what_a_person_must_do(self, text: str, reason: str, passing: bool) -> None:
        failure = database_servers.connection_failure(text, None)
        assert (failure.reason, failure.is_awaited) == (reason, passing)
        assert "\n" not in failure.message

    def test_never_repeat_the_password(self) -> None:
        failure = database_servers.connection_failure("cannot connect to x:s3cr%t@db", "s3cr%t")
        assert "s3cr%t" not in failure.message

    @pytest.mark.parametrize(
        "text",
        [
            'FATAL: password authentication failed for user "x_a"',
            'FATAL: role "x_a" is not permitted to log in',
            'FATAL: permission denied for database "x"',
            "fe_sendauth: no password supplied",
        ],
    )
    def test_of_a_login_that_the_operator_makes_pass(self, text: str) -> None:
        failure = database_servers.connection_failure(text, None, database_servers.POSTGRES)
        assert (failure.reason, failure.is_awaited) == ("LoginRefused", True)
        assert "URI" not in failure.message

    def test_for_want_of_a_ca_file_are_no_refused_login(self) -> None:
        text = 'root certificate file "/etc/mlflow/backend-store/ca.crt" does not exist'
        assert (
            database_servers.connection_failure(text, None, database_servers.POSTGRES).reason == "TlsFailed"
        )


class TestRevisions:
    MIGRATIONS = schema_revision.Migrations(frozenset({"aaa", "bbb"}), "bbb")

    @pytest.mark.parametrize(("found", "reason"), [(None, "SchemaMissing"), ("aaa", "SchemaBehind")])
    def test_of_our_own_database_wait_for_the_job(self, found: str | None, reason: str) -> None:
        with pytest.raises(checks.CheckFailed, match="the migration Job brings it up") as failed:
            database_servers.check_revision(found, database_servers.POSTGRES, self.MIGRATIONS, "3.17.2")
        assert (failed.value.reason, failed.value.is_awaited) == (reason, True)

    @pytest.mark.parametrize(("found", "reason"), [(None, "SchemaMissing"), ("aaa", "SchemaBehind")])
    def test_of_somebody_elses_are_reported_at_once(self, found: str | None, reason: str) -> None:
        with pytest.raises(checks.CheckFailed, match="the migration Job brings it up") as failed:
            database_servers.check_revision(found, database_servers.EXTERNAL, self.MIGRATIONS, "3.17.2")
        assert (failed.value.reason, failed.value.is_awaited) == (reason, False)

    @pytest.mark.parametrize("kind", [database_servers.POSTGRES, database_servers.EXTERNAL])
    def test_that_are_unknown_are_refused_at_once(self, kind: database_servers.Kind) -> None:
        with pytest.raises(checks.CheckFailed) as failed:
            database_servers.check_revision("zzz", kind, self.MIGRATIONS, "3.17.2")
        assert (failed.value.reason, failed.value.is_awaited) == ("SchemaTooNew", False)


class TestMigrationFailures:
    STORE = migrate.Store(
        database_servers.EXTERNAL, "postgresql+psycopg2://x:s3cr%25t@db/x", [], ("s3cr%t", "s3cr%25t")
    )

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            ("sqlalchemy.exc.OperationalError: (psycopg2.errors.DiskFull) could not extend file", "DiskFull"),
            ("sqlalchemy.exc.OperationalError: (pymysql.err.OperationalError) (1114, 'full')", "DiskFull"),
            ("sqlalchemy.exc.OperationalError: (psycopg2.errors.DeadlockDetected) deadlock", "Busy"),
            ("sqlalchemy.exc.OperationalError: (pymysql.err.OperationalError) (1205, 'wait')", "Busy"),
            (
                "sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) server closed",
                "StoreUnreachable",
            ),
            ("sqlalchemy.exc.InterfaceError: (psycopg2.InterfaceError) closed", "StoreUnreachable"),
            (
                "sqlalchemy.exc.OperationalError: (pymysql.err.OperationalError) (2006, 'x')",
                "StoreUnreachable",
            ),
        ],
    )
    def test_that_pass_are_known_by_the_words_of_the_drivers(self, error: str, reason: str) -> None:
        failure = migrate.failure_of(self.STORE, error)
        assert failure.reason == reason
        assert EXIT_CODES[failure.reason] not in TERMINAL_EXIT_CODES
        assert error in failure.message

    def test_are_told_by_the_last_line_that_names_an_error(self) -> None:
        output = [
            "Traceback (most recent call last):",
            "sqlalchemy.exc.DataError: (x) bad",
            "[SQL: y]",
            "(Background)",
        ]
        assert migrate.error_in(output) == "sqlalchemy.exc.DataError: (x) bad"

    def test_without_such_a_line_are_told_by_the_last_one(self) -> None:
        assert migrate.error_in(["Usage: mlflow", "no such command", ""]) == "no such command"
        assert migrate.error_in([]) == "no output"

    def test_never_repeat_a_password(self) -> None:
        assert self.STORE.without_secrets("x:s3cr%t@db, x:s3cr%25t@db") == "x:***@db, x:***@db"
        assert migrate.passwords_in(self.STORE.uri) == ("s3cr%t", "s3cr%25t")
        assert "s3cr" not in repr(self.STORE)


class TestPatience:
    @pytest.fixture(autouse=True)
    def hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.2)
        monkeypatch.setattr(checks, "RETRY_SECONDS", 0.001)

    def test_outlasts_a_failure_that_passes(self) -> None:
        answers = iter([False, False, True])

        def attempt() -> str:
            if next(answers):
                return "abc"
            raise checks.CheckFailed("StoreUnreachable", "Not yet.")

        assert checks.with_retries(attempt) == "abc"

    def test_ends_at_once_where_waiting_does_not_help(self) -> None:
        attempts = []

        def attempt() -> str:
            attempts.append(1)
            raise checks.CheckFailed("LoginRefused", "No.")

        with pytest.raises(checks.CheckFailed, match=r"No\."):
            checks.with_retries(attempt)
        assert len(attempts) == 1

    def test_does_not_wait_for_an_attempt_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checks, "ATTEMPT_SECONDS", 0.05)
        with pytest.raises(checks.CheckFailed, match="it said nothing"):
            checks.with_retries(threading.Event().wait)

    def test_raises_what_the_attempt_raises(self) -> None:
        with pytest.raises(ZeroDivisionError):
            checks.with_retries(lambda: 1 / 0)

    def test_ends_after_its_time(self) -> None:
        def attempt() -> str:
            raise checks.CheckFailed("StoreUnreachable", "Never.")

        with pytest.raises(checks.CheckFailed, match=r"Never\."):
            checks.with_retries(attempt)


class TestStartServer:
    """Mounted credentials become what MLflow and the clients of the clouds read."""

    @staticmethod
    def mounted(folder: Path, **files: str) -> Path:
        for name, content in files.items():
            store, _, key = name.partition("__")
            path = folder / store.replace("_", "-") / key
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        return folder

    def test_nothing_mounted_sets_nothing(self, tmp_path: Path) -> None:
        assert credentials_environment(tmp_path) == {}

    def test_the_database_uri_goes_where_mlflow_reads_it(self, tmp_path: Path) -> None:
        folder = self.mounted(tmp_path, backend_store__uri="postgresql+psycopg2://u:p%40ss@db/m\n")
        assert credentials_environment(folder) == {
            "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://u:p%40ss@db/m"
        }

    def test_keys_of_s3_by_the_names_that_classes_use(self, tmp_path: Path) -> None:
        folder = self.mounted(
            tmp_path, artifact_store__accessKeyId="id", artifact_store__secretAccessKey="key"
        )
        assert credentials_environment(folder) == {
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "key",
        }

    @pytest.mark.parametrize(
        "name",
        [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AZURE_STORAGE_CONNECTION_STRING",
            "MLFLOW_S3_ENDPOINT_URL",
        ],
    )
    def test_keys_by_the_names_of_their_variables_as_the_reference_says(
        self, tmp_path: Path, name: str
    ) -> None:
        folder = self.mounted(tmp_path, **{f"artifact_store__{name}": "value"})
        assert credentials_environment(folder) == {name: "value"}

    @pytest.mark.parametrize(
        "name", ["LD_PRELOAD", "PATH", "PYTHONPATH", "MLFLOW_BACKEND_STORE_URI", "HOME", "lower", "..data"]
    )
    def test_other_keys_become_no_variables(self, tmp_path: Path, name: str) -> None:
        # The class may forbid variables of the team's own: a Secret must not be a way around that.
        folder = self.mounted(tmp_path, **{f"artifact_store__{name}": "value"})
        assert credentials_environment(folder) == {}

    @pytest.mark.parametrize(
        ("file", "variable"),
        [
            ("credentials", "AWS_SHARED_CREDENTIALS_FILE"),
            ("credentials.json", "GOOGLE_APPLICATION_CREDENTIALS"),
        ],
    )
    def test_credential_files_are_passed_by_their_path(
        self, tmp_path: Path, file: str, variable: str
    ) -> None:
        folder = self.mounted(tmp_path, **{f"artifact_store__{file}": "content"})
        assert credentials_environment(folder) == {variable: str(folder / "artifact-store" / file)}

    @pytest.mark.parametrize(
        ("decided", "contradiction"),
        [
            ("AWS_CA_BUNDLE", "AWS_CA_BUNDLE"),
            ("AWS_CA_BUNDLE", "MLFLOW_S3_IGNORE_TLS"),
            ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
        ],
    )
    def test_a_key_of_the_secret_says_nothing_that_the_specification_has_decided(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decided: str, contradiction: str
    ) -> None:
        folder = self.mounted(tmp_path, **{f"artifact_store__{contradiction}": "other"})
        monkeypatch.delenv(decided, raising=False)
        assert credentials_environment(folder) == {contradiction: "other"}
        monkeypatch.setenv(decided, "of the specification")
        assert credentials_environment(folder) == {}

    def test_what_is_beside_the_database_uri_goes_into_it_by_its_path(self, tmp_path: Path) -> None:
        folder = self.mounted(
            tmp_path, **{"backend_store__uri": "postgres://u:p@db/m", "backend_store__ca.crt": "a CA"}
        )
        uri = credentials_environment(folder)["MLFLOW_BACKEND_STORE_URI"]
        assert f"sslrootcert={quote(str(folder), safe='')}" in uri
        assert "a CA" not in uri

    def test_a_database_uri_that_became_unusable_ends_the_container_with_a_sentence(
        self, tmp_path: Path
    ) -> None:
        log = tmp_path / "termination-log"
        folder = self.mounted(tmp_path, backend_store__uri="postgres://u:secret@db/m?service=mlflow")
        variables = {
            "TRACKING_OPERATOR_CREDENTIALS": str(folder),
            "TRACKING_OPERATOR_TERMINATION_LOG": str(log),
        }
        ended = subprocess.run(
            [sys.executable, *START_SERVER, "server"],
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == EXIT_CODES["UnsupportedUri"]
        assert "has the option service" in json.loads(log.read_text())["message"]
        assert "secret" not in ended.stdout + ended.stderr

    @pytest.mark.parametrize("named_by", S3_ENDPOINT_VARIABLES)
    def test_an_s3_server_that_is_not_awss_is_sent_no_checksums_that_it_may_not_know(
        self, named_by: str
    ) -> None:
        assert settings_of_other_servers({named_by: "https://s3"}) == SETTINGS_OF_OTHER_SERVERS
        said = {named_by: "https://s3", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported"}
        assert settings_of_other_servers(said) == {"AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"}
        assert settings_of_other_servers({}) == {}

    def test_becomes_mlflow_with_all_arguments_and_no_secret_among_them(self, tmp_path: Path) -> None:
        bin_folder = tmp_path / "bin"
        bin_folder.mkdir()
        fake = bin_folder / "mlflow"
        fake.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            "json.dump([os.getpid(), sys.argv[1:], os.environ['MLFLOW_BACKEND_STORE_URI']], sys.stdout)\n"
        )
        fake.chmod(0o755)
        folder = self.mounted(tmp_path, backend_store__uri="postgres://secret")
        arguments = server_arguments(model())
        started = subprocess.Popen(
            [sys.executable, *START_SERVER, *arguments],
            env={"PATH": str(bin_folder), "TRACKING_OPERATOR_CREDENTIALS": str(folder)},
            stdout=subprocess.PIPE,
            text=True,
        )
        output, _ = started.communicate(timeout=30)
        pid, given, uri = json.loads(output)
        assert pid == started.pid, "a signal to the container must reach MLflow itself"
        assert given == start_server.on_every_address(arguments)
        assert uri == "postgresql+psycopg2://secret"


class TestObjectStores:
    @pytest.mark.parametrize("answer", OBJECT_STORE_CODES)
    def test_have_a_sentence_for_whatever_they_answer(self, answer: Answer) -> None:
        identity = s3.Identity("Correct the keys.")
        failure = s3.failure_for(answer, "PutObject of s3://b/k", "Code: {braces}", identity)
        assert failure.reason == answer.reason
        assert "Code: {braces}" in failure.message

    def test_do_not_know_a_fresh_identity_yet(self) -> None:
        fresh = s3.Identity("Wait.", may_be_fresh=True)
        failure = s3.failure_for(Answer.IDENTITY_UNKNOWN, "PutObject", "InvalidAccessKeyId", fresh)
        assert (failure.reason, failure.is_awaited) == ("IdentityPending", True)


class TestMetrics:
    def test_are_left_out_where_the_image_cannot_count(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(start_server, "EXPORTER", "no_such_module")
        arguments = ["server", "--workers=1", "--expose-prometheus=/tmp/metrics"]
        assert start_server.with_metrics(arguments) == ["server", "--workers=1"]
        assert "no prometheus-flask-exporter" in capsys.readouterr().err

    def test_begin_anew_with_each_container(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        started: list[list[str]] = []
        monkeypatch.setattr(start_server, "EXPORTER", "json")
        monkeypatch.setattr(subprocess, "Popen", started.append)
        monkeypatch.setenv("TRACKING_OPERATOR_METRICS_PORT", "5001")
        folder = tmp_path / "metrics"
        folder.mkdir()
        (folder / "counter_1.db").touch()
        arguments = ["server", f"--expose-prometheus={folder}"]
        assert start_server.with_metrics(arguments) == arguments
        assert list(folder.iterdir()) == []
        assert [command[-4:] for command in started] == [
            ["serve-metrics", str(folder), "5001", str(os.getpid())]
        ]

    def test_end_at_once_where_the_server_has_ended_before(self, tmp_path: Path) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        code = "from tracking_operator.pod_tools.serve_metrics import main; main()"
        command = [sys.executable, "-c", code, str(tmp_path), "0", str(gone.pid)]
        assert subprocess.run(command, timeout=patient(30), check=False).returncode == 0


class TestImage:
    """Run as a container runs it, with a Python that lacks a driver."""

    @pytest.mark.parametrize(
        ("kind", "place", "module"),
        [("postgres", "pg_service.conf", "psycopg2"), ("external", "uri", "sqlalchemy")],
    )
    def test_without_a_driver_is_called_so(self, tmp_path: Path, kind: str, place: str, module: str) -> None:
        image = MlflowImage.build(tmp_path / "image")
        (image.folder / f"{module}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')"
        )
        (tmp_path / place).write_text("postgresql+psycopg2://user:secret@host/database")
        answer = image.check(kind, str(tmp_path / place))
        assert (answer.reason, answer.exit_code) == ("ImageIncomplete", EXIT_CODES["ImageIncomplete"])
        assert f"no Python module '{module}'" in answer.message
        assert "Traceback" not in answer.output
        assert "secret" not in answer.output
