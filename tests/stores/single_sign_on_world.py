"""A real MLflow behind a real oauth2-proxy, as the pods of a server have them, and an identity provider: all of it on loopback."""

import http.client
import http.cookiejar
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dev.identity_provider.provider import Client, Provider, User, serve
from dev.loopback import free_port
from dev.oauth2_proxy import oauth2_proxy_program
from tests.mlflow_versions import MLFLOW_VERSION, mlflow_python
from tests.pod_programs import START_SERVER
from tests.unit.examples import Manifest, plan_of, server, tracking_class
from tests.waiting import patient, wait_until
from tracking_operator.naming import CONTAINER_PORT, MLFLOW_PORT
from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.pod.login_proxy import (
    CLIENT_FOLDER,
    PROXY_FOLDER,
    PROXY_PASSWORD,
    proxy_arguments,
    sign_on_settings,
)
from tracking_operator.resources.pod.server_pod import UVICORN_OPTIONS_BEHIND_PROXY
from tracking_operator.resources.secret import text_in
from tracking_operator.resources.server_address import Address
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.sign_on_secret import build_sign_on_secret

SECONDS_TO_START: Final = 400
SECONDS_UNTIL_A_RECHECK: Final = 1
CLIENT: Final = "mlflow/team-a/mlflow"
SECRET: Final = "a-secret-of-the-client"
PREFIX: Final = "/team-a"
EXPERIMENTS: Final = "/api/2.0/mlflow/experiments"

CREDENTIALS: Final = LoginCredentials(
    admin="admin",
    admin_password="password-of-the-admin-with-32-ch",
    user="team",
    user_password="password-of-the-team-with-32-cha",
    secret_key="key-of-flask-that-replicas-share",
    rotated_for="",
    rotated_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def users() -> dict[str, User]:
    """Ann and Ben of the team, Boss of the platform, Eve of another team, and Mallory, who names groups."""
    return {
        "ann": User(["mlflow-team-a", "staff"]),
        "ben": User(["readers-team-a"]),
        "boss": User(["mlflow-admins"]),
        "eve": User(["mlflow-team-b"]),
        "nobody": User([], claims={"groups": None}),
        "mallory": User(
            [
                "mlflow-team-a-friends",
                "staff,mlflow-admins",
                "mlflow-team-a ",
                '"mlflow-team-a"',
                "ｍlflow-team-a",
            ]
        ),
    }


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(frozen=True)
class Answer:
    """What somebody was answered."""

    status: int
    headers: Mapping[str, str]
    body: str


class Browser:
    """Keeps cookies, and goes where it is sent."""

    def __init__(self, user: str = "") -> None:
        self.jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.jar), _NoRedirect(), urllib.request.ProxyHandler({})
        )
        self._user = user
        self.statuses: list[int] = []
        self.places: list[str] = []

    def get(self, url: str, **headers: str) -> Answer:
        """Ask once, and go nowhere."""
        request = urllib.request.Request(url, headers={**headers})  # noqa: S310 - of this machine
        if "/authorize?" in url:
            request.add_header("Cookie", f"user={self._user}")
        try:
            with self._opener.open(request, timeout=patient(60)) as response:
                return Answer(
                    response.status, dict(response.headers), response.read().decode(errors="replace")
                )
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read().decode(errors="replace"))

    def open(self, url: str) -> Answer:
        """Ask, and go where one is sent."""
        self.statuses, self.places = [], []
        for _ in range(10):
            self.places.append(url)
            answer = self.get(url)
            self.statuses.append(answer.status)
            if "Location" not in answer.headers or answer.status not in (302, 303, 307):
                return answer
            url = urllib.parse.urljoin(url, answer.headers["Location"])
        return answer


@dataclass
class World:
    """One server."""

    provider: Provider
    folder: Path
    port: int
    mlflow_port: int
    model: ServerModel

    @property
    def url(self) -> str:
        """What people open, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    @property
    def proxy_log(self) -> str:
        """What the proxy has said."""
        return (self.folder / "proxy.log").read_text()

    def ask(
        self,
        path: str = f"{EXPERIMENTS}/search?max_results=1",
        *,
        method: str = "GET",
        body: str = "",
        **headers: str,
    ) -> Answer:
        """A request of a program, without cookies."""
        return raw(self.port, f"{PREFIX}{path}", method=method, body=body, **headers)

    def ask_mlflow(self, path: str = f"{EXPERIMENTS}/search?max_results=1", **headers: str) -> Answer:
        """A request to MLflow's own port."""
        return raw(self.mlflow_port, f"{PREFIX}{path}", **headers)

    def make_experiment(self, name: str, **headers: str) -> Answer:
        """Have a program make an experiment."""
        return self.ask(f"{EXPERIMENTS}/create", method="POST", body=f'{{"name": "{name}"}}', **headers)


def raw(port: int, path: str, *, method: str = "GET", body: str = "", **headers: str) -> Answer:
    """A request with a path that nobody tidies up; ``X_Some_Header`` becomes ``X-Some-Header``."""
    return send(port, path, {name.replace("_", "-"): value for name, value in headers.items()}, method, body)


def send(port: int, path: str, headers: Mapping[str, str], method: str = "GET", body: str = "") -> Answer:
    """A request with headers that are called as they are called."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patient(60))
    type_ = {"Content-Type": "application/json"} if body else {}
    try:
        connection.request(method, path, body or None, type_ | dict(headers))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read().decode(errors="replace"))
    finally:
        connection.close()


def bearer(token: str) -> dict[str, str]:
    """The header of a program that has a token."""
    return {"Authorization": f"Bearer {token}"}


def basic(username: str, password: str) -> dict[str, str]:
    """The header of a program that has a password."""
    return {"Authorization": f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"}


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Run all of it until the block ends."""
    idp_port, port, mlflow_port = free_port(), free_port(), free_port()
    provider = Provider(f"http://127.0.0.1:{idp_port}", users())
    url = f"http://127.0.0.1:{port}{PREFIX}"
    provider.clients[CLIENT] = Client(SECRET, [f"{url}/oauth2/callback"])
    provider.clients["mlflow/team-b/mlflow"] = Client("another", [])
    idp = serve(provider, ("127.0.0.1", idp_port))
    model = _model(provider.issuer, Address("127.0.0.1", PREFIX, f"http://127.0.0.1:{port}"))
    made = World(provider, folder, port, mlflow_port, model)
    try:
        with mlflow(made), proxy(made):
            yield made
    finally:
        idp.shutdown()


def _model(issuer: str, address: Address) -> ServerModel:
    offered = {
        "image": "oauth2-proxy",
        "issuer": issuer,
        "clientId": "mlflow/{{ namespace }}/{{ name }}",
        "clientSecretRef": {"name": "{{ name }}-client-of-provider", "key": "secret"},
        "allowedGroups": ["mlflow-{{ namespace }}"],
        "adminGroups": ["mlflow-admins"],
        "groupPermissions": [{"group": "readers-{{ namespace }}", "permission": "READ"}],
        "acceptTokens": True,
        "sessionHours": 8,
        "recheckMinutes": 1,
    }
    of_class = tracking_class({"access": {"authentication": {"oidc": offered}}}, is_default=True)
    model = plan_of(server(), of_class).model
    return replace(model, access=replace(model.access, address=address))


def sign_on_secret(model: ServerModel) -> Manifest:
    """The Secret of the proxy."""
    assert model.single_sign_on is not None
    return build_sign_on_secret(model, model.single_sign_on, CREDENTIALS, None)


@contextmanager
def mlflow(made: World) -> Iterator[None]:
    """Run MLflow as its container does."""
    folder, secret = made.folder, sign_on_secret(made.model)
    assert made.model.single_sign_on is not None
    (folder / "login").mkdir(exist_ok=True)
    (folder / "sso").mkdir(exist_ok=True)
    mounted = {
        "login/username": CREDENTIALS.admin,
        "login/password": CREDENTIALS.admin_password,
        "login/clientUsername": CREDENTIALS.user,
        "login/secretKey": CREDENTIALS.secret_key,
        "sso/password": text_in(secret, PROXY_PASSWORD),
    }
    for name, text in mounted.items():
        (folder / name).write_text(text)
    program = folder / "mlflow"
    program.write_text(f'#!/bin/sh\nexec {mlflow_python(MLFLOW_VERSION)} -m mlflow "$@"\n')
    program.chmod(0o755)
    command: list[str | Path] = [
        mlflow_python(MLFLOW_VERSION), *START_SERVER, "server", "--host=127.0.0.1", f"--port={made.mlflow_port}", "--workers=1",
        f"--backend-store-uri=sqlite:///{folder}/mlflow.db", "--serve-artifacts", f"--artifacts-destination={folder}/artifacts",
        "--app-name=basic-auth", f"--uvicorn-opts={UVICORN_OPTIONS_BEHIND_PROXY}", f"--static-prefix={PREFIX}", "--allowed-hosts=127.0.0.1:*",
    ]  # fmt: skip
    variables = {
        "PATH": f"{folder}:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "TRACKING_OPERATOR_CREDENTIALS": str(folder),
        "TRACKING_OPERATOR_DEFAULT_PERMISSION": "EDIT",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    } | sign_on_settings(made.model.single_sign_on)
    with running(command, variables, folder / "mlflow.log", made.mlflow_port, f"{PREFIX}/health"):
        yield


@contextmanager
def proxy(made: World, *, changes: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run the proxy with the arguments of its container, but for its places; ``changes`` replace options."""
    folder, secret = made.folder, sign_on_secret(made.model)
    assert made.model.single_sign_on is not None
    places = {
        PROXY_FOLDER + "/": f"{folder}/",
        CLIENT_FOLDER + "/": f"{folder}/",
        f'":{CONTAINER_PORT}"': f'"127.0.0.1:{made.port}"',
        f":{MLFLOW_PORT}": f":{made.mlflow_port}",
        "--cookie-refresh=1m": f"--cookie-refresh={SECONDS_UNTIL_A_RECHECK}s",
    } | dict(changes or {})

    def here(text: str) -> str:
        for old, new in places.items():
            text = text.replace(old, new)
        return text

    for key in secret["data"]:
        (folder / key).write_text(here(text_in(secret, key)))
    (folder / "client-secret").write_text(SECRET)
    arguments = [here(one) for one in proxy_arguments(made.model, made.model.single_sign_on)]
    with running([oauth2_proxy_program(), *arguments], {}, folder / "proxy.log", made.port, "/ping"):
        yield


@contextmanager
def running(
    command: Sequence[str | Path], variables: Mapping[str, str], log: Path, port: int, path: str
) -> Iterator[None]:
    """Run a program until the block ends; begin when it answers."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=dict(variables) or os.environ, stdout=output, stderr=output)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return raw(port, path).status == 200
        except OSError:
            return False

    try:
        wait_until(is_up, SECONDS_TO_START, lambda: f"an answer: {log.read_text()}")
        yield
    finally:
        process.terminate()
        process.wait(patient(60))
