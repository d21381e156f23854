"""The Secrets and settings of a server with a login, as pods and clients get them."""

import configparser
from pathlib import Path

import pytest

from tests.unit.examples import (
    Manifest,
    artifact_keys,
    login_credentials,
    model,
    postgres_class,
    s3_class,
    tracking_class,
)
from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server.exposure.answer import exposed_result
from tracking_operator.failures import Invalid
from tracking_operator.mlflow.client import Answer
from tracking_operator.pod_tools import start_server as start
from tracking_operator.resources.auth_secret import build_auth_secret, login_credentials_in
from tracking_operator.resources.client_secret import build_client_secret, has_client_secret
from tracking_operator.resources.pod.server_pod import LOGIN_OPTION, build_pod_template, server_arguments
from tracking_operator.resources.secret import text_in
from tracking_operator.resources.stores.postgres import PostgresBackend

BASIC: Manifest = {"access": {"authentication": {"basic": {}}}}
NONE: Manifest = {"access": {"authentication": {"none": {}}}}
OFFERED: Manifest = {"access": {"authentication": {"basic": {"defaultPermission": "EDIT"}}}}
OPENED: Manifest = OFFERED | {"permissions": {"anonymousAccess": True}}


class TestWhoIsLetIn:
    @pytest.mark.parametrize(
        ("asked", "offered", "permission"),
        [
            ({}, {}, None),
            (NONE, {}, None),
            (BASIC, {}, "EDIT"),
            ({}, OFFERED, "EDIT"),
            (BASIC, OFFERED, "EDIT"),
            (NONE, OPENED, None),
            (BASIC, {"access": {"authentication": {"none": {}}}}, "EDIT"),
        ],
    )
    def test_is_what_the_team_says_or_else_the_class(
        self, asked: Manifest, offered: Manifest, permission: str | None
    ) -> None:
        login = model(asked, tracking_class(offered, is_default=True)).login
        assert (login.default_permission.value if login else None) == permission

    @pytest.mark.parametrize(
        "path", ["/static", "/static-analysis", "/health", "/healthcare/ml", "/favicon.ico"]
    )
    def test_is_everybody_below_some_paths_which_are_refused_therefore(self, path: str) -> None:
        with pytest.raises(Invalid, match=f"The path {path} begins with") as refused:
            model({"access": {"path": path, "authentication": {"basic": {}}}})
        assert refused.value.reason is Reason.INVALID_SPEC
        assert model({"access": {"path": path}}).login is None
        assert model({"access": {"path": f"/team{path}", "authentication": {"basic": {}}}}).login


def test_that_everybody_is_let_in_is_said() -> None:
    everybody, some = (exposed_result(model(spec), Answer(200)) for spec in ({}, BASIC))
    assert everybody.message.endswith("Nobody has to log in: whoever reaches the address can read and write.")
    assert "log in" not in some.message


class TestPods:
    def test_have_no_password_in_their_specification(self) -> None:
        template = build_pod_template(model(BASIC, postgres_class()))
        assert LOGIN_OPTION in template["spec"]["containers"][0]["args"]
        assert {"name": "login-credentials", "secret": {"secretName": "mlflow-auth"}} in template["spec"][
            "volumes"
        ]

    def test_without_a_login_know_nothing_of_it(self) -> None:
        assert "login" not in str(build_pod_template(model()))
        assert LOGIN_OPTION not in server_arguments(model())

    def test_share_more_connections_where_nobody_says_how_many(self) -> None:
        def limit(spec: Manifest, offer: Manifest | None = None, more: Manifest | None = None) -> int:
            store = model(spec, postgres_class(offer, more)).backend_store
            assert isinstance(store, PostgresBackend)
            return store.connection_limit

        assert (limit({}), limit(BASIC)) == (40, 60)
        assert limit(BASIC, {"connectionLimit": 30}) == 30
        assert limit(BASIC | {"backendStore": {"postgres": {"connectionLimit": 50}}}) == 50

    @pytest.mark.parametrize("spec", [{}, BASIC])
    def test_share_no_more_connections_than_a_class_allows(self, spec: Manifest) -> None:
        store = model(spec, postgres_class(None, {"limits": {"maxConnections": 35}})).backend_store
        assert isinstance(store, PostgresBackend)
        assert store.connection_limit == 35

    @pytest.mark.parametrize(
        "uri", ["sqlite:////data/mlflow.db", "postgresql://u:p%40ss%25@db/x", "mysql://x"]
    )
    def test_read_exactly_what_is_mounted(
        self, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "login").mkdir()
        for name, text in (("username", "admin"), ("password", "100%(x)s\n"), ("secretKey", "key")):
            (tmp_path / "login" / name).write_text(text)
        monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", uri)
        variables = start.login_environment(["server", LOGIN_OPTION], tmp_path, tmp_path)
        file = Path(variables["MLFLOW_AUTH_CONFIG_PATH"])
        assert file.stat().st_mode & 0o777 == 0o600
        found = configparser.ConfigParser()
        found.read(file)
        assert found["mlflow"]["database_uri"] == uri
        assert found["mlflow"]["admin_password"] == "100%(x)s"
        assert start.credentials_environment(tmp_path)["MLFLOW_FLASK_SERVER_SECRET_KEY"] == "key"
        again = start.login_environment(
            ["server", LOGIN_OPTION, f"--backend-store-uri={uri}2"], tmp_path, tmp_path
        )
        found.read(again["MLFLOW_AUTH_CONFIG_PATH"])
        assert found["mlflow"]["database_uri"] == f"{uri}2"

    def test_without_a_login_get_no_settings_of_it(self, tmp_path: Path) -> None:
        assert start.login_environment(["server"], tmp_path, tmp_path) == {}


class TestSecrets:
    def test_of_the_admin_are_read_as_they_were_written(self) -> None:
        server, new = model(BASIC), login_credentials(admin_password="new", user_password="new")
        for known in (
            login_credentials(rotated_for="monday"),
            login_credentials(next_admin_password="next", next_user_password="next"),
        ):
            assert login_credentials_in(build_auth_secret(server, known), new) == known

    def test_of_the_admin_are_completed_where_something_is_missing(self) -> None:
        server, known = model(BASIC), login_credentials()
        new = login_credentials(user_password="new")
        secret = build_auth_secret(server, known)
        del secret["data"]["clientPassword"]
        assert login_credentials_in(secret, new) == login_credentials(user_password="new")
        secret["metadata"].pop("annotations")
        secret["data"]["clientPassword"] = "not base64"
        assert login_credentials_in(secret, new).user_password == "new"
        assert login_credentials_in(None, new) is new

    def test_of_clients_have_the_ordinary_users_login(self) -> None:
        known = login_credentials()
        secret = build_client_secret(model(BASIC), None, known)
        assert secret
        assert text_in(secret, "MLFLOW_TRACKING_USERNAME") == "team"
        assert text_in(secret, "MLFLOW_TRACKING_PASSWORD") == known.user_password
        assert known.admin_password not in str(secret)

    def test_of_clients_have_login_and_keys_where_both_are_needed(self) -> None:
        server = model(BASIC | {"artifactStore": {"s3": {}, "proxied": False}}, s3_class())
        both = build_client_secret(server, artifact_keys(), login_credentials())
        assert both
        assert set(both["data"]) == {
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "MLFLOW_TRACKING_USERNAME",
            "MLFLOW_TRACKING_PASSWORD",
        }
        assert build_client_secret(server, None, login_credentials()) is None, (
            "nothing is taken away meanwhile"
        )
        assert build_client_secret(server, artifact_keys(), None) is None

    def test_of_clients_are_not_there_where_nothing_is_needed(self) -> None:
        assert build_client_secret(model(), None, None) is None
        assert not has_client_secret(model())
        assert has_client_secret(model(BASIC))
