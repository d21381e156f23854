"""What a team, or a user of one MLflow, tries over HTTP: at the other server's address, and inside of its own."""

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import time
import zlib
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import quote

from tracking_operator.isolation.attempts import Area, Attempt, Book, By, CannotTryError, Refused
from tracking_operator.isolation.in_pod.scene import Scene, Side, secret

BOOK: Final = Book[Scene](Area.LOGIN)
API: Final = "/api/2.0/mlflow"
GRANTS: Final = "/api/3.0/mlflow/users/permissions"
SEARCH: Final = f"{API}/experiments/search?max_results=5"
SECONDS_TO_ANSWER: Final = 20
FIRST_REFUSAL: Final = 300
SHUT: Final = "^(401|403|404)"
OTHERS_SERVER: Final = "another team's server"
DEFAULT_PASSWORDS: Final = (("admin", "password1234"), ("admin", "password"), ("admin", "admin"))
"""MLflow's own, as its documentation and its basic_auth.ini have them."""


@dataclass(frozen=True)
class Answer:
    """What a server has answered."""

    status: int
    body: str

    def or_refused(self) -> str:
        """What it has given. Raises Refused: it has given nothing."""
        words = f"{self.status} {self.body[:120]}"
        if self.status >= FIRST_REFUSAL:
            raise Refused(words)
        return words


def ask(
    scene: Scene,
    side: Side,
    path: str,
    login: tuple[str, str] | None = None,
    *,
    method: str = "GET",
    body: object = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Ask a team's server at the address that people use. Raises CannotTryError: no route leads to it."""
    if not scene.ingress or not side.host:
        raise CannotTryError("no route leads to the servers from outside of their namespaces")
    host, _, port = scene.ingress.rpartition(":")
    context = ssl._create_unverified_context()  # noqa: S323 - the attacker takes any certificate
    connection = (
        http.client.HTTPSConnection(host, int(port), timeout=SECONDS_TO_ANSWER, context=context)
        if scene.scheme == "https"
        else http.client.HTTPConnection(host, int(port), timeout=SECONDS_TO_ANSWER)
    )
    sent = {"Host": side.host, "Content-Type": "application/json", **(headers or {})}
    if login:
        sent["Authorization"] = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
    try:
        connection.request(
            method, side.path.rstrip("/") + path, None if body is None else json.dumps(body), sent
        )
        found = connection.getresponse()
        return Answer(found.status, found.read(2000).decode(errors="replace"))
    finally:
        connection.close()


def require_login(scene: Scene) -> None:
    """Raise CannotTryError if the servers let everybody in."""
    if not scene.has_login:
        raise CannotTryError("the class's servers ask for no login")


def administrator() -> tuple[str, str]:
    """Who may do everything in the own server."""
    return secret("auth", "username"), secret("auth", "password")


def member() -> tuple[str, str]:
    """The user of the team's programs in the own server."""
    return secret("auth", "clientUsername"), secret("auth", "clientPassword")


@BOOK.attempt("own", "search experiments as the team's user", against="its own server")
def use_own(scene: Scene) -> str:
    """The control: the route and the login work."""
    require_login(scene)
    return ask(scene, scene.own, SEARCH, member()).or_refused()


PATHS: Final = (
    SEARCH,
    "/",
    "/ajax-api/2.0/mlflow/experiments/search?max_results=5",
    "/ajax-api/3.0/mlflow/traces/search",
    "/graphql",
    f"{API}/users/get?username=admin",
    "/metrics",
    "/get-artifact?path=a&run_uuid=b",
    "/model-versions/get-artifact?path=a&name=b&version=1",
    f"{API}-artifacts/artifacts",
    f"{API}/registered-models/search",
    f"{API}/gateway/secrets/list",
)


def _every_path(scene: Scene, login: tuple[str, str] | None, headers: dict[str, str] | None = None) -> str:
    require_login(scene)
    said = []
    for path in PATHS:
        answer = ask(scene, scene.other, path, login, headers=headers)
        if answer.status < FIRST_REFUSAL:
            return f"{path} answered {answer.status} {answer.body[:80]}"
        said.append(str(answer.status))
    raise Refused(" ".join(sorted(set(said))))


@BOOK.attempt(
    "nobody", f"ask {len(PATHS)} routes without a login", against=OTHERS_SERVER, by=By.STRANGER, refusal=SHUT
)
def ask_as_nobody(scene: Scene) -> str:
    """Every route of MLflow that gives data."""
    return _every_path(scene, None)


@BOOK.attempt("administrator", "log in as the own administrator", against=OTHERS_SERVER, refusal="^401")
def ask_as_own_administrator(scene: Scene) -> str:
    """The administrators have one name and different passwords."""
    return _every_path(scene, administrator())


@BOOK.attempt("member", "log in as the own user", against=OTHERS_SERVER, refusal="^401")
def ask_as_own_member(scene: Scene) -> str:
    """So have the teams' users."""
    return _every_path(scene, member())


@BOOK.attempt(
    "defaults",
    "log in with MLflow's default passwords",
    against=OTHERS_SERVER,
    by=By.STRANGER,
    refusal="^401",
)
def ask_with_default_passwords(scene: Scene) -> str:
    """MLflow makes an administrator with a known password where nobody says otherwise."""
    require_login(scene)
    answers = [ask(scene, scene.other, SEARCH, login) for login in DEFAULT_PASSWORDS]
    return min(answers, key=lambda answer: answer.status).or_refused()


@BOOK.attempt(
    "cookie",
    "send a session cookie that is signed with the own Flask key",
    against=OTHERS_SERVER,
    refusal="^401",
)
def send_own_cookie(scene: Scene) -> str:
    """Each server has a Flask key of its own."""
    cookie = flask_session(secret("auth", "secretKey"), {"username": "admin", "_user_id": "admin"})
    return _every_path(scene, None, {"Cookie": f"session={cookie}"})


def flask_session(key: str, content: dict[str, str]) -> str:
    """A session as Flask signs it (itsdangerous, URLSafeTimedSerializer; HMAC-SHA1, salt `cookie-session`)."""

    def encoded(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    payload = "." + encoded(zlib.compress(json.dumps(content, separators=(",", ":")).encode()))
    stamp = encoded(int(time.time()).to_bytes(4, "big"))
    derived = hmac.new(key.encode(), b"cookie-session", hashlib.sha1).digest()
    signature = hmac.new(derived, f"{payload}.{stamp}".encode(), hashlib.sha1).digest()
    return f"{payload}.{stamp}.{encoded(signature)}"


FORGED_HEADERS: Final = (
    {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-User": "admin", "X-Remote-User": "admin", "REMOTE_USER": "admin"},
    {"X-Forwarded-Prefix": "/static", "X-Script-Name": "/static"},
)


@BOOK.attempt(
    "headers",
    "pretend to come from localhost, or to be somebody, by headers",
    against=OTHERS_SERVER,
    by=By.STRANGER,
    refusal=SHUT,
)
def send_forged_headers(scene: Scene) -> str:
    """What a proxy would say about its clients."""
    require_login(scene)
    answers = [ask(scene, scene.other, SEARCH, headers=headers) for headers in FORGED_HEADERS]
    return min(answers, key=lambda answer: answer.status).or_refused()


@BOOK.attempt(
    "host-header",
    "ask with a Host header of somebody else's",
    against=OTHERS_SERVER,
    by=By.STRANGER,
    refusal="^(403|404)",
)
def send_foreign_host(scene: Scene) -> str:
    """A page of evil.example.com whose name leads to the server's address is no page of the server's (DNS rebinding)."""
    return ask(scene, scene.other, SEARCH, headers={"Host": "evil.example.com"}).or_refused()


@BOOK.attempt(
    "sign-up",
    "make a user without a login",
    against=OTHERS_SERVER,
    by=By.STRANGER,
    refusal=SHUT,
    harmless=False,
)
def sign_up(scene: Scene) -> str:
    """MLflow has a page for that, which its administrator opens."""
    require_login(scene)
    user = {"username": scene.mark, "password": f"{scene.mark}-password"}
    said = []
    for path in (f"{API}/users/create", f"{API}/users/create-ui"):
        answer = ask(scene, scene.other, path, method="POST", body=user)
        if answer.status < FIRST_REFUSAL:
            return f"{path} answered {answer.status}"
        said.append(answer)
    return said[0].or_refused()


DOTS: Final = ("../..", "..%2f..", "%2e%2e/%2e%2e", "..%252f..", "./../..")


@BOOK.attempt(
    "artifact-path",
    "read artifacts through the own server with `..` in their path",
    against="another team's prefix",
    refusal=f"{SHUT[:-1]}|400|500)",
)
def climb_through_own_server(scene: Scene) -> str:
    """The server's own keys would end at its prefix anyway."""
    require_login(scene)
    said = []
    for dots in DOTS:
        path = f"{API}-artifacts/artifacts/{dots}/{scene.other.prefix}/{scene.mark}/victim.txt"
        answer = ask(scene, scene.own, path, administrator())
        if answer.status < FIRST_REFUSAL:
            return f"{path} answered {answer.body[:80]}"
        said.append(answer)
    return said[0].or_refused()


@BOOK.attempt(
    "artifact-location",
    "make an experiment whose artifacts lie under the other prefix, and list them",
    against="another team's prefix",
    by=By.USER,
    refusal="^(400|403|404|500|503)",
    harmless=False,
)
def point_at_another_prefix(scene: Scene) -> str:
    """The server goes there with its own keys, which end at its own prefix."""
    require_login(scene)
    if not scene.other.bucket:
        raise CannotTryError("the other server has no prefix in a bucket")
    place = f"s3://{scene.other.bucket}/{scene.other.prefix}/{scene.mark}"
    run = _run_in_an_experiment(scene, f"{scene.mark}-elsewhere-{time.time()}", place)
    return ask(scene, scene.own, f"{API}/artifacts/list?run_id={run}", administrator()).or_refused()


def _run_in_an_experiment(scene: Scene, name: str, place: str | None = None) -> str:
    """Make an experiment and a run in it, as the administrator; return the run's id."""
    body = {"name": name} | ({"artifact_location": place} if place else {})
    made = ask(scene, scene.own, f"{API}/experiments/create", administrator(), method="POST", body=body)
    made.or_refused()
    experiment = json.loads(made.body)["experiment_id"]
    wanted = {"experiment_id": experiment, "start_time": 1}
    run = ask(scene, scene.own, f"{API}/runs/create", administrator(), method="POST", body=wanted)
    run.or_refused()
    return str(json.loads(run.body)["run"]["info"]["run_id"])


# Inside of one MLflow


def _outsider(scene: Scene) -> tuple[str, str]:
    """A user of the own server who has no permission for anything that others have made."""
    require_login(scene)
    user = (f"{scene.mark}-outsider", f"{scene.mark}-password")
    body = {"username": user[0], "password": user[1]}
    answer = ask(scene, scene.own, f"{API}/users/create", administrator(), method="POST", body=body)
    if answer.status >= FIRST_REFUSAL and "already exists" not in answer.body:
        raise CannotTryError(f"no user could be made: {answer.status} {answer.body}")
    return user


@BOOK.attempt(
    "experiment",
    "delete an experiment and its run, and permit it to oneself",
    against="an experiment of somebody else in the same MLflow",
    by=By.USER,
    refusal="^403",
    harmless=False,
)
def delete_without_permission(scene: Scene) -> str:
    """MLflow's own permissions. What a class gives to all unless it says otherwise is EDIT: neither DELETE nor MANAGE."""
    user, name = _outsider(scene), f"{scene.mark}-private-{time.time()}"
    run = _run_in_an_experiment(scene, name)
    found = ask(
        scene, scene.own, f"{API}/experiments/get-by-name?experiment_name={quote(name)}", administrator()
    )
    experiment = json.loads(found.body)["experiment"]["experiment_id"]
    grant = {
        "username": user[0],
        "resource_type": "experiment",
        "resource_id": experiment,
        "permission": "MANAGE",
    }
    writes: tuple[tuple[str, dict[str, object]], ...] = (
        (f"{GRANTS}/grant", grant),
        (f"{API}/runs/delete", {"run_id": run}),
        (f"{API}/experiments/delete", {"experiment_id": experiment}),
    )
    answers = [ask(scene, scene.own, path, user, method="POST", body=body) for path, body in writes]
    return min(answers, key=lambda answer: answer.status).or_refused()


ADMINISTRATION: Final[tuple[tuple[str, str, str, str, dict[str, object]], ...]] = (
    ("promote", "make oneself administrator", "PATCH", "users/update-admin", {"is_admin": True}),
    ("password", "set the administrator's password", "PATCH", "users/update-password",
     {"username": "admin", "password": "a-password-of-mine"}),
    ("delete-user", "delete the administrator", "DELETE", "users/delete", {"username": "admin"}),
)  # fmt: skip


def _administer(scene: Scene, method: str, path: str, body: dict[str, object]) -> str:
    user = _outsider(scene)
    return ask(
        scene, scene.own, f"{API}/{path}", user, method=method, body={"username": user[0]} | body
    ).or_refused()


for _name, _tried, _method, _path, _body in ADMINISTRATION:
    BOOK.add(
        Attempt(
            f"login/{_name}",
            Area.LOGIN,
            By.USER,
            "the users of the same MLflow",
            _tried,
            "^403",
            harmless=False,
        ),
        partial(_administer, method=_method, path=_path, body=_body),
    )
