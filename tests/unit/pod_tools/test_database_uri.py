"""URIs of databases as providers hand them out."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from tracking_operator.pod_tools import database_uri as module
from tracking_operator.pod_tools.checks import CheckFailed
from tracking_operator.pod_tools.database_uri import read_uri, usable_uri

AS_THEY_ARE = (
    "postgresql+psycopg2://u:p@db/x",
    "postgresql+psycopg://u:p@db/x",
    "mysql+pymysql://u:p@db/x",
    "mysql://u:p@db/x",
    "no uri at all",
    "",
)


@pytest.mark.parametrize(
    ("written", "used"),
    [
        (
            "postgres://u:p%40@db:6543/x?sslmode=require\n",
            "postgresql+psycopg2://u:p%40@db:6543/x?sslmode=require",
        ),
        ("postgresql://u:a://b@db/x", "postgresql+psycopg2://u:a://b@db/x"),
        ("postgres+psycopg://u@db/x", "postgresql+psycopg://u@db/x"),
        *((uri, uri) for uri in AS_THEY_ARE),
    ],
)
def test_postgresql_gets_its_long_name_and_a_driver(written: str, used: str) -> None:
    assert usable_uri(written) == used


def test_without_the_driver_in_the_image_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert usable_uri("postgres://u:p@db/x") == "postgresql://u:p@db/x"


PLAIN = "postgresql+psycopg2://u:p@db/x"


def mounted(folder: Path, uri: str = PLAIN, *beside: str) -> Path:
    """The file with the URI, and others beside it."""
    for name in beside:
        (folder / name).write_text("content")
    (folder / "uri").write_text(uri)
    return folder / "uri"


def options_of(uri: str) -> dict[str, str]:
    """The options of a URI as SQLAlchemy reads them."""
    return {name: str(value) for name, value in make_url(uri).query.items()}


class TestFilesBesideTheUri:
    def test_there_are_none_and_the_uri_stays_as_it_is(self, tmp_path: Path) -> None:
        assert read_uri(mounted(tmp_path)) == PLAIN

    @pytest.mark.parametrize("query", ["", "?connect_timeout=3", "?sslmode=verify-full"])
    def test_with_a_ca_certificate_and_host_are_verified(self, tmp_path: Path, query: str) -> None:
        options = options_of(read_uri(mounted(tmp_path, PLAIN + query, "ca.crt")))
        assert options.items() >= {"sslmode": "verify-full", "sslrootcert": f"{tmp_path}/ca.crt"}.items()
        assert "sslcert" not in options

    def test_the_uri_may_say_that_only_the_certificate_is_verified(self, tmp_path: Path) -> None:
        options = options_of(read_uri(mounted(tmp_path, f"{PLAIN}?sslmode=verify-ca", "ca.crt")))
        assert options["sslmode"] == "verify-ca"

    def test_a_client_certificate_is_shown_to_a_server_that_the_cas_of_the_image_know(
        self, tmp_path: Path
    ) -> None:
        assert options_of(read_uri(mounted(tmp_path, PLAIN, "tls.crt", "tls.key"))) == {
            "sslmode": "verify-full",
            "sslrootcert": module.CAS_OF_IMAGE,
            "sslcert": f"{tmp_path}/tls.crt",
            "sslkey": f"{tmp_path}/tls.key",
        }

    def test_a_question_mark_in_the_password_is_no_option(self, tmp_path: Path) -> None:
        uri = make_url(read_uri(mounted(tmp_path, "postgres://u:p?w@db/x", "ca.crt")))
        assert (uri.password, uri.query["sslmode"]) == ("p?w", "verify-full")

    @pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
    def test_a_uri_that_asks_for_no_verification_contradicts_a_ca(self, tmp_path: Path, mode: str) -> None:
        with pytest.raises(CheckFailed, match="asks for no verification") as refused:
            read_uri(mounted(tmp_path, f"{PLAIN}?sslmode={mode}", "ca.crt"))
        assert refused.value.reason == "UnsupportedUri"

    def test_two_cas_contradict_each_other(self, tmp_path: Path) -> None:
        with pytest.raises(CheckFailed, match="take one of them out"):
            read_uri(mounted(tmp_path, f"{PLAIN}?sslrootcert=system", "ca.crt"))

    @pytest.mark.parametrize("uri", ["mysql+pymysql://u:p@db/x", "postgresql+pg8000://u:p@db/x"])
    def test_they_are_for_libpq(self, tmp_path: Path, uri: str) -> None:
        with pytest.raises(CheckFailed, match="are for PostgreSQL"):
            read_uri(mounted(tmp_path, uri, "ca.crt"))


class TestOptionsThatNameFiles:
    @pytest.mark.parametrize(
        "query",
        [
            "sslrootcert=/etc/mlflow/login/password",
            "sslrootcert=/etc/ssl/certs/../../mlflow/login/password",
            "sslkey=/var/run/secrets/kubernetes.io/serviceaccount/token",
            "sslcert=/etc/mlflow/backend-store/tls.crt",
            "service=mlflow",
            "passfile=/tmp/passwords",
            "servicefile=/tmp/services",
            "sslkeylogfile=/tmp/keys",
            "dsn=passfile%3D/tmp/passwords",
            "connect_timeout=3&%73slkey=/x",
            "connect_timeout%3D3%20sslkey=/x",
            "connect_timeout%3D3%0Asslkey=/x",
            "ssl_ca=/etc/mlflow/login/password",
            "read_default_file=/tmp/my.cnf",
            "plugin_dir=/tmp",
            "odbc_connect=Driver%3D/tmp/x.so",
            "driver=/tmp/x.so",
            "plugin=anything",
            "local_infile=1",
            "Driver=/tmp/x.so",
        ],
    )
    @pytest.mark.parametrize("start", [PLAIN, "mysql+pymysql://u:p?w@db/x", "mssql+pyodbc://u:p@db/x"])
    def test_are_refused_and_nothing_secret_is_repeated(self, tmp_path: Path, start: str, query: str) -> None:
        with pytest.raises(CheckFailed, match=r"take it out|whose name is none") as refused:
            read_uri(mounted(tmp_path, f"{start}?{query}"))
        assert refused.value.reason == "UnsupportedUri"
        assert "u:p" not in refused.value.message

    @pytest.mark.parametrize(
        "query",
        [
            "sslmode=require",
            "sslrootcert=system&sslmode=verify-full",
            "sslrootcert=/etc/ssl/certs/ca-certificates.crt",
            "options=-c%20statement_timeout=5000",
            "driver=ODBC+Driver+18+for+SQL+Server",
            "host=a:5432&host=b:5432&target_session_attrs=read-write",
            "charset=utf8mb4",
        ],
    )
    def test_others_stay(self, tmp_path: Path, query: str) -> None:
        assert read_uri(mounted(tmp_path, f"{PLAIN}?{query}")) == f"{PLAIN}?{query}"


def test_an_empty_uri_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="is empty"):
        read_uri(mounted(tmp_path, " \n"))
