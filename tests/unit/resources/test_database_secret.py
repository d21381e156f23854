"""The Secret of a server's own database: libpq and we read the same from it, and nothing of it is elsewhere."""

import base64
import json
import string
from configparser import ConfigParser
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import EXTERNAL_BUCKET, Manifest, credentials, database_secret, model, postgres_class
from tracking_operator.api.tracking_server_class import SslMode
from tracking_operator.controllers.server.children.mounted_secrets import references_of
from tracking_operator.passwords import new_password
from tracking_operator.resources import build_objects
from tracking_operator.resources.database_secret import credentials_in
from tracking_operator.resources.pod.migration_job import build_migration_job
from tracking_operator.resources.server_model import ServerModel

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PASSWORD = "planted-Passw0rd"
ROTATED_AT = "tracking-operator.dev/rotated-at"


def postgres_model(**offer: object) -> ServerModel:
    return model({"artifactStore": EXTERNAL_BUCKET}, postgres_class(offer))


def contents(secret: Manifest) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def service(secret: Manifest) -> dict[str, str]:
    """The settings that libpq finds."""
    file = ConfigParser(interpolation=None)
    file.read_string(contents(secret)["pg_service.conf"])
    return dict(file["mlflow"])


class TestServiceFile:
    def test_has_everything_that_libpq_needs(self) -> None:
        server = postgres_model(host="pg.example.com", port=6432)
        assert service(database_secret(server, credentials(PASSWORD, login="mlflow_a"))) == {
            "host": "pg.example.com",
            "port": "6432",
            "dbname": "mlflow_team_a_mlflow_827b91c5045d692d",
            "user": "mlflow_a",
            "password": PASSWORD,
            "sslmode": "verify-full",
            "sslrootcert": "/etc/ssl/certs/ca-certificates.crt",
            "connect_timeout": "10",
            "application_name": "mlflow",
        }

    @pytest.mark.parametrize("mode", SslMode)
    @pytest.mark.parametrize("has_own_ca", [False, True])
    def test_names_the_ca_exactly_where_a_certificate_is_verified(
        self, mode: SslMode, has_own_ca: bool
    ) -> None:
        own = {"caConfigMapRef": {"name": "pg-ca"}} if has_own_ca else {}
        server = postgres_model(sslMode=mode.value, **own)
        settings = service(database_secret(server, credentials(), CA if has_own_ca else None))
        assert settings["sslmode"] == mode.value
        bundle = "/etc/mlflow/backend-store/ca.crt" if has_own_ca else "/etc/ssl/certs/ca-certificates.crt"
        assert settings.get("sslrootcert") == (bundle if mode in ("verify-ca", "verify-full") else None)

    def test_is_plain_as_libpq_reads_it_line_by_line(self) -> None:
        # libpq takes neither spaces around "=" nor continued lines.
        text = contents(database_secret(postgres_model(), credentials()))["pg_service.conf"]
        first, *settings = text.splitlines()
        assert first == "[mlflow]"
        assert text.endswith("\n")
        assert all(line == line.strip() and 0 < line.index("=") < len(line) - 1 for line in settings)


class TestSecret:
    def test_has_the_ca_of_the_class_beside_the_service_file(self) -> None:
        assert contents(database_secret(postgres_model(), credentials(), CA))["ca.crt"] == CA

    def test_has_no_ca_without_one(self) -> None:
        assert contents(database_secret(postgres_model(), credentials())).keys() == {"pg_service.conf"}

    def test_is_watched_and_goes_with_its_server(self) -> None:
        server = postgres_model()
        metadata = database_secret(server, credentials())["metadata"]
        assert metadata["name"] == "mlflow-database"
        assert metadata["labels"]["tracking-operator.dev/watch"] == "true"
        assert metadata["ownerReferences"] == [server.owner_reference]


class TestCredentials:
    @given(
        password=st.text(string.ascii_letters + string.digits + "-_.~+/=%$:#;'\"\\[]{}", min_size=1),
        rotated_for=st.text(),
        rotated_at=st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0)),
        login=st.from_regex(r"[a-z][a-z0-9_]{0,60}_[ab]", fullmatch=True),
    )
    def test_read_back_as_they_were_written(
        self, password: str, rotated_for: str, rotated_at: datetime, login: str
    ) -> None:
        written = credentials(password, login=login, rotated_for=rotated_for, rotated_at=rotated_at)
        assert credentials_in(database_secret(postgres_model(), written, CA)) == written

    def test_of_our_own_making_read_back(self) -> None:
        written = credentials(new_password())
        assert credentials_in(database_secret(postgres_model(), written)) == written

    def test_are_the_same_whatever_time_zone_their_age_is_written_in(self) -> None:
        there = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
        secret = database_secret(postgres_model(), credentials(rotated_at=there))
        assert credentials_in(secret) == credentials(rotated_at=there.astimezone(UTC))

    def test_whose_age_somebody_wrote_without_a_time_zone_can_be_compared(self) -> None:
        secret = database_secret(postgres_model(), credentials())
        secret["metadata"]["annotations"][ROTATED_AT] = "2026-01-01T10:00:00"
        assert credentials_in(secret) == credentials(rotated_at=datetime(2026, 1, 1, 10, tzinfo=UTC))

    def test_do_not_show_their_password(self) -> None:
        assert PASSWORD not in repr(credentials(PASSWORD))

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"nonsense",
            b"user=a\npassword=b\n",
            b"\xff\xfe\x00binary",
            b"\x00",
            b"[mlflow]\n",
            b"[mlflow]\nuser=a\n",
            b"[mlflow]\npassword=b\n",
            b"[mlflow]\nuser=\npassword=b\n",
            b"[mlflow]\nuser=a\npassword=\n",
            b"[mlflow]\nuser\npassword=b\n",
            b"[mlflow]\nuser=a\nuser=c\npassword=b\n",
            b"[other]\nuser=a\npassword=b\n",
            b"[mlflow]\nuser=a\npassword=b\n[other]\nuser=c\n",
            b"[other]\n[mlflow]\nuser=a\npassword=b\n",
            b"[mlflow]\nuser=a\n[mlflow]\npassword=b\n",
            b"[DEFAULT]\nuser=a\npassword=b\n[mlflow]\n",
            b"[DEFAULT]\nuser=a\npassword=b\n",
        ],
    )
    def test_are_none_in_a_file_that_we_would_not_write(self, text: bytes) -> None:
        secret = database_secret(postgres_model(), credentials())
        secret["data"]["pg_service.conf"] = base64.b64encode(text).decode()
        assert credentials_in(secret) is None

    @given(st.binary(max_size=200))
    def test_are_none_in_anything_at_random(self, text: bytes) -> None:
        secret = database_secret(postgres_model(), credentials())
        secret["data"]["pg_service.conf"] = base64.b64encode(text).decode()
        assert credentials_in(secret) is None

    @pytest.mark.parametrize("data", [None, {}, {"other": "YQ=="}, {"pg_service.conf": "no base64"}])
    def test_are_none_without_the_file(self, data: Manifest | None) -> None:
        assert credentials_in(database_secret(postgres_model(), credentials()) | {"data": data}) is None

    @pytest.mark.parametrize("annotations", [None, {}, {ROTATED_AT: ""}, {ROTATED_AT: "yesterday"}])
    def test_are_none_without_their_age(self, annotations: Manifest | None) -> None:
        secret = database_secret(postgres_model(), credentials())
        secret["metadata"]["annotations"] = annotations
        assert credentials_in(secret) is None

    def test_are_none_without_a_secret(self) -> None:
        assert credentials_in(None) is None


class TestNothingSecret:
    @pytest.mark.parametrize(
        "spec", [{}, {"suspend": True}, {"replicas": 2, "artifactStore": EXTERNAL_BUCKET}]
    )
    @pytest.mark.parametrize("ca_certificates", [None, CA])
    def test_is_anywhere_but_in_the_data_of_the_secret(
        self, spec: Manifest, ca_certificates: str | None
    ) -> None:
        server = model(spec, postgres_class())
        secret = database_secret(server, credentials(PASSWORD), ca_certificates)
        assert PASSWORD in contents(secret)["pg_service.conf"]

        objects = [*build_objects(server), build_migration_job(server), secret | {"data": {}}]
        written = json.dumps(objects)
        for shape in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode()):
            assert shape not in written
        assert [obj["kind"] for obj in objects].count("Secret") == 1

    def test_is_part_of_the_digest_that_rolls_pods(self) -> None:
        """Pods see a new service file by themselves: nothing restarts when credentials rotate."""
        assert list(references_of(model({}, postgres_class()))) == []


@pytest.mark.parametrize("password", ["pass\u0301word", "x" * 129, ""], ids=["not ASCII", "long", "empty"])
def test_a_password_that_is_not_one_of_ours_is_not_used(password: str) -> None:
    """libpq would take minutes to normalise a long one that is not ASCII, and nothing else runs meanwhile."""
    secret = database_secret(postgres_model(), credentials(password))
    assert credentials_in(secret) is None


def test_a_password_of_ours_is_used() -> None:
    secret = database_secret(postgres_model(), credentials(password := new_password()))
    found = credentials_in(secret)
    assert found is not None
    assert found.password == password
