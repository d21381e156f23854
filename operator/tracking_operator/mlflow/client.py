"""An asynchronous client of MLflow's REST API: does it answer, who may log in, and other passwords.

Paths are those of ``mlflow/server/auth/routes.py`` and of the tracking API (MLflow 3.16.1 and 3.17.2 agree on them); with
``--static-prefix`` all of them are below the prefix.

A server may run any image, so that nothing in its answer is trusted: not its length, not its redirects, not its cookies.
"""

import base64
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp

from tracking_operator.foreign_text import one_line, shortened
from tracking_operator.pod_tools.programs import IDLE_HEADER, OPERATORS_AGENT
from tracking_operator.shares import Shares

SECONDS_TO_CONNECT: Final = 5.0
SECONDS_TO_ANSWER: Final = 10.0
"""For one request as a whole."""
CONNECTIONS: Final = 256
"""At a time, to all servers together."""
SHARE: Final = 8
"""Of these, for the servers of one namespace."""
LONGEST_ANSWER: Final = 64 * 1024
"""In bytes; what is longer is not read to its end."""
LONGEST_LIST: Final = 1024 * 1024
"""In bytes, of the list of a server's users."""
LONGEST_NUMBER: Final = 10
"""Digits."""
LONGEST_QUOTE: Final = 200
"""In characters, of what a server said."""

EXPERIMENTS: Final = "/api/2.0/mlflow/experiments/search"
HEALTH: Final = "/health"
CURRENT_USER: Final = "/api/2.0/mlflow/users/current"
CREATE_USER: Final = "/api/2.0/mlflow/users/create"
UPDATE_PASSWORD: Final = "/api/2.0/mlflow/users/update-password"  # noqa: S105 - a path
LIST_USERS: Final = "/api/2.0/mlflow/users/list"
DELETE_USER: Final = "/api/2.0/mlflow/users/delete"
GRANT: Final = "/api/3.0/mlflow/users/permissions/grant"

SECRETS_SENT: Final = ("password", "current_password")

ALREADY_EXISTS: Final = "RESOURCE_ALREADY_EXISTS"
DOES_NOT_EXIST: Final = "RESOURCE_DOES_NOT_EXIST"

EVERY_KIND_OF_RESOURCE: Final = ("experiment", "registered_model", "prompt")
"""What a permission is granted for where a user is to have more than the server's default: of these depends what is below them, runs and
versions say (mlflow/server/auth/permissions.py, 3.16.1 to 3.18.0)."""


@dataclass(frozen=True)
class Target:
    """Where a tracking server is asked."""

    url: str
    """With the prefix and without a slash at its end: ``http://mlflow.team-a.svc/team-a``."""
    host: str = ""
    """The Host header; empty: the one of the URL."""
    namespace: str = ""
    """Whose share of the connections it takes."""


@dataclass(frozen=True)
class Login:
    """A user's name and password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What became of a request."""

    status: int | None
    """The HTTP status; None if there was no answer."""
    problem: str = ""
    """What the server said, or why it said nothing, in one line without a full stop; empty if the request succeeded."""
    error_code: str = ""
    """MLflow's own word for an error, such as RESOURCE_ALREADY_EXISTS."""

    content: str = field(default="", repr=False)
    """What was asked for, where that is more than whether it succeeded."""

    @property
    def is_ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status == HTTPStatus.OK

    @property
    def is_refused_login(self) -> bool:
        """Whether name and password, or the lack of them, are the reason."""
        return self.status == HTTPStatus.UNAUTHORIZED


class MlflowApi:
    """Asks tracking servers. Never raises for what a server does or leaves undone: that is in the answer."""

    def __init__(self, proxy: str | None = None) -> None:
        """With ``proxy``, the URL of an HTTP proxy, every request goes through it."""
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None
        self._places = Shares(CONNECTIONS, SHARE)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def answer(self, target: Target, login: Login | None = None) -> Answer:
        """Ask for one experiment, which takes host check, prefix, login and database all at once."""
        return await self._request("GET", target, EXPERIMENTS, login, query={"max_results": "1"})

    async def log_in(self, target: Target, login: Login) -> Answer:
        """Ask as whom the server knows this login."""
        return await self._request("GET", target, CURRENT_USER, login)

    async def create_user(self, target: Target, admin: Login, user: Login) -> Answer:
        """Make an ordinary user; one of that name is no success, and its ``error_code`` is ALREADY_EXISTS."""
        body = {"username": user.username, "password": user.password}
        return await self._request("POST", target, CREATE_USER, admin, body=body)

    async def update_password(self, target: Target, admin: Login, user: Login) -> Answer:
        """Give a user the password that ``user`` has; an admin's own needs the old one, which ``admin`` has."""
        body = {"username": user.username, "password": user.password}
        if user.username == admin.username:
            body["current_password"] = admin.password
        return await self._request("PATCH", target, UPDATE_PASSWORD, admin, body=body)

    async def usernames(self, target: Target, admin: Login) -> tuple[Answer, frozenset[str]]:
        """Who the users are, the admin among them; nobody unless the answer is a success."""
        answer = await self._request("GET", target, LIST_USERS, admin, most=LONGEST_LIST)
        if not answer.is_ok:
            return answer, frozenset()
        names = _usernames_in(answer.content)
        if names is None:
            return Answer(None, "its list of users cannot be read"), frozenset()
        return Answer(answer.status), names

    async def delete_user(self, target: Target, admin: Login, username: str) -> Answer:
        """Delete a user, with all permissions; one who is not there any more is a success."""
        answer = await self._request("DELETE", target, DELETE_USER, admin, body={"username": username})
        return Answer(HTTPStatus.OK) if answer.error_code == DOES_NOT_EXIST else answer

    async def grant_all(self, target: Target, admin: Login, username: str, permission: str) -> Answer:
        """Give a user a permission for all experiments, models and prompts, those to come among them."""
        answer = Answer(HTTPStatus.OK)
        for kind in EVERY_KIND_OF_RESOURCE:
            body = {
                "username": username,
                "resource_type": kind,
                "resource_id": "*",
                "permission": permission,
            }
            answer = await self._request("POST", target, GRANT, admin, body=body)
            if not answer.is_ok:
                break
        return answer

    async def idle_seconds(self, target: Target) -> int | None:
        """How long ago a pod, which ``target`` names by its address, was asked something by others; None: it does not tell."""
        if not await self._places.take(target.namespace, SECONDS_TO_ANSWER):
            return None
        try:
            async with self._opened().get(
                target.url + HEALTH, proxy=self._proxy, allow_redirects=False
            ) as response:
                said = response.headers.get(IDLE_HEADER, "")
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return None
        finally:
            self._places.give_back(target.namespace)
        return int(said) if said.isascii() and said.isdigit() and len(said) <= LONGEST_NUMBER else None

    async def _request(
        self,
        method: str,
        target: Target,
        path: str,
        login: Login | None,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, str] | None = None,
        most: int = 0,
    ) -> Answer:
        """Ask; ``most`` is how many bytes of a success are read: none by default, and it is none if there are more."""
        if not await self._places.take(target.namespace, SECONDS_TO_ANSWER):
            return Answer(None, "too many other servers of the namespace leave requests without an answer")
        try:
            return await self._send(method, target, path, login, query=query, body=body, most=most)
        finally:
            self._places.give_back(target.namespace)

    async def _send(
        self,
        method: str,
        target: Target,
        path: str,
        login: Login | None,
        *,
        query: dict[str, str] | None,
        body: dict[str, str] | None,
        most: int,
    ) -> Answer:
        headers = {"Host": target.host} if target.host else {}
        if login:
            headers["Authorization"] = _basic(login)
        try:
            async with self._opened().request(
                method,
                target.url + path,
                params=query,
                json=body,
                headers=headers,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                if response.status == HTTPStatus.OK:
                    content = await _beginning_of(response, most + 1) if most else ""
                    return (
                        Answer(response.status, content=content) if len(content) <= most else _too_long(most)
                    )
                said = await _beginning_of(response, LONGEST_ANSWER)
                return _refusal(response.status, _without(said, login, body))
        except TimeoutError:
            return Answer(None, f"it did not answer within {SECONDS_TO_ANSWER:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, _one_line(str(error) or type(error).__name__))

    def _opened(self) -> aiohttp.ClientSession:
        """The session; it needs a running loop, so that it is opened by the first request."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A connection that is kept would stay with one pod of a Service.
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, force_close=True, use_dns_cache=False),
                timeout=aiohttp.ClientTimeout(total=SECONDS_TO_ANSWER, connect=SECONDS_TO_CONNECT),
                cookie_jar=aiohttp.DummyCookieJar(),
                # A small answer may unpack to a large one.
                headers={"Accept-Encoding": "identity", "User-Agent": OPERATORS_AGENT},
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


def _usernames_in(content: str) -> frozenset[str] | None:
    """Read a list of users; None: it is none."""
    try:
        users = json.loads(content)["users"]
        return frozenset(str(one["username"]) for one in users)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _too_long(most: int) -> Answer:
    return Answer(None, f"its answer has more than {most} bytes")


async def _beginning_of(response: aiohttp.ClientResponse, most: int) -> str:
    said = bytearray()
    while len(said) < most and (chunk := await response.content.read(most - len(said))):
        said += chunk
    return said.decode(errors="replace")


def _without(text: str, login: Login | None, body: dict[str, str] | None) -> str:
    """The text without passwords, should a server repeat what it was sent."""
    sent = {login.password if login else "", *((body or {}).get(key, "") for key in SECRETS_SENT)}
    for secret in sent - {""}:
        text = text.replace(secret, "***")
    return text


def _refusal(status: int, text: str) -> Answer:
    """Read an answer that is no success: MLflow's are JSON, those of its login and of proxies are text."""
    try:
        error = json.loads(text)
    except ValueError:
        error = None
    if isinstance(error, dict) and "error_code" in error:
        return Answer(status, _one_line(str(error.get("message") or "")), str(error["error_code"]))
    return Answer(status, _one_line(text) or _phrase(status))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"


def _one_line(text: str) -> str:
    return shortened(one_line(text, 4 * LONGEST_QUOTE).rstrip("."), LONGEST_QUOTE)
