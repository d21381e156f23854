"""The client against a server of our own on loopback: what it sends, and what it makes of every kind of answer."""

import asyncio
import base64
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiohttp import web

from tracking_operator.mlflow import client as client_module
from tracking_operator.mlflow.client import ALREADY_EXISTS, Answer, Login, MlflowApi, Target

ADMIN = Login("admin", "old-password-of-the-admin")
USER = Login("jobs", "password-of-the-ordinary-user")

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """A stand-in for a tracking server, or for a proxy before it: remembers the last request."""

    url: str = ""
    respond: Respond | None = None
    method: str = ""
    target: str = ""
    host: str = ""
    user: str = ""
    body: object = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.method, self.target, self.host = request.method, request.raw_path, request.headers["Host"]
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        self.user = base64.b64decode(encoded).decode() if scheme == "Basic" else ""
        text = await request.text()
        self.body = json.loads(text) if text else None
        return await self.respond(request) if self.respond else web.json_response({})

    def says(self, status: int, text: str) -> None:
        async def respond(_: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=status, text=text)

        self.respond = respond


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    runner = web.ServerRunner(web.Server(found.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def api() -> AsyncIterator[MlflowApi]:
    found = MlflowApi()
    yield found
    await found.close()


async def test_a_server_that_answers_is_asked_below_its_prefix_with_the_host_that_people_use(
    server: Server, api: MlflowApi
) -> None:
    answer = await api.answer(Target(f"{server.url}/team-a", "mlflow.example.com"))
    assert (answer, answer.is_ok) == (Answer(200), True)
    assert server.target == "/team-a/api/2.0/mlflow/experiments/search?max_results=1"
    assert (server.method, server.host, server.user) == ("GET", "mlflow.example.com", "")


async def test_without_a_host_of_its_own_the_url_names_it(server: Server, api: MlflowApi) -> None:
    await api.answer(Target(server.url))
    assert f"http://{server.host}" == server.url


async def test_a_login_is_sent_as_basic_authentication(server: Server, api: MlflowApi) -> None:
    assert (await api.log_in(Target(server.url), USER)).is_ok
    assert server.user == f"{USER.username}:{USER.password}"
    assert server.target == "/api/2.0/mlflow/users/current"


async def test_every_request_goes_through_the_proxy_if_there_is_one(server: Server) -> None:
    api = MlflowApi(proxy=server.url)
    answer = await api.answer(Target("http://mlflow.team-a.svc/team-a", "mlflow.example.com"), USER)
    await api.close()
    assert answer.is_ok
    assert server.target.startswith("http://mlflow.team-a.svc/team-a/api/")
    assert (server.host, server.user) == ("mlflow.example.com", f"{USER.username}:{USER.password}")


async def test_a_user_is_made_by_the_admin(server: Server, api: MlflowApi) -> None:
    assert (await api.create_user(Target(server.url), ADMIN, USER)).is_ok
    assert (server.method, server.target) == ("POST", "/api/2.0/mlflow/users/create")
    assert server.body == {"username": USER.username, "password": USER.password}


async def test_a_user_of_that_name_is_told_from_other_errors(server: Server, api: MlflowApi) -> None:
    server.says(400, json.dumps({"error_code": ALREADY_EXISTS, "message": "User exists."}))
    answer = await api.create_user(Target(server.url), ADMIN, USER)
    assert answer == Answer(400, "User exists", ALREADY_EXISTS)


async def test_another_users_password_needs_no_old_one(server: Server, api: MlflowApi) -> None:
    assert (await api.update_password(Target(server.url), ADMIN, USER)).is_ok
    assert (server.method, server.target) == ("PATCH", "/api/2.0/mlflow/users/update-password")
    assert server.body == {"username": USER.username, "password": USER.password}


async def test_the_admins_own_password_is_changed_with_the_old_one(server: Server, api: MlflowApi) -> None:
    await api.update_password(Target(server.url), ADMIN, Login("admin", "new"))
    assert server.body == {"username": "admin", "password": "new", "current_password": ADMIN.password}


@pytest.mark.parametrize(
    ("status", "text", "problem"),
    [
        (401, "You are not authenticated.\nPlease see …", "You are not authenticated. Please see …"),
        (403, "Invalid Host header", "Invalid Host header"),
        (404, "", "Not Found"),
        (
            503,
            json.dumps({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "no database."}),
            "no database",
        ),
        (502, "[1, 2]", "[1, 2]"),
        (500, "x" * 1000, "x" * 199 + "…"),
        (599, "", "status 599"),
    ],
)
async def test_what_a_server_says_comes_in_one_line(
    server: Server, api: MlflowApi, status: int, text: str, problem: str
) -> None:
    server.says(status, text)
    answer = await api.answer(Target(server.url))
    assert (answer.status, answer.problem, answer.is_ok) == (status, problem, False)
    assert answer.is_refused_login is (status == 401)


async def test_a_server_that_repeats_passwords_has_them_in_no_message(server: Server, api: MlflowApi) -> None:
    server.says(400, f"{ADMIN.password} and {USER.password} are not accepted")
    answer = await api.update_password(Target(server.url), ADMIN, USER)
    assert answer.problem == "*** and *** are not accepted"


async def test_a_redirect_is_not_followed(server: Server, api: MlflowApi) -> None:
    async def elsewhere(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})

    server.respond = elsewhere
    assert (await api.answer(Target(server.url), USER)).status == 302


async def test_an_answer_without_end_is_not_read_to_its_end(server: Server, api: MlflowApi) -> None:
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    server.respond = endless
    async with asyncio.timeout(5):
        assert (await api.answer(Target(server.url))).status == 500


async def test_silence_is_an_answer_in_time(
    server: Server, api: MlflowApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    server.respond = silent
    monkeypatch.setattr(client_module, "SECONDS_TO_ANSWER", 0.2)
    assert await api.answer(Target(server.url)) == Answer(None, "it did not answer within 0 s")


async def test_servers_of_one_namespace_that_hang_keep_no_other_from_being_asked(
    server: Server, api: MlflowApi
) -> None:
    hanging, asked = asyncio.Event(), 0

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal asked
        if request.raw_path.startswith("/hostile"):
            asked += 1
            await hanging.wait()
        return web.Response()

    server.respond = hang
    requests = [
        asyncio.create_task(api.answer(Target(f"{server.url}/hostile", namespace="hostile")))
        for _ in range(client_module.CONNECTIONS * 2)
    ]
    async with asyncio.timeout(5):
        while asked < client_module.SHARE:  # noqa: ASYNC110 — the server counts in a task of its own
            await asyncio.sleep(0.01)
        assert (await api.answer(Target(server.url, namespace="honest"))).is_ok
    assert asked == client_module.SHARE
    hanging.set()
    await asyncio.gather(*requests)


async def test_an_answer_that_would_unpack_to_a_large_one_is_not_unpacked(
    server: Server, api: MlflowApi
) -> None:
    async def bomb(_: web.BaseRequest) -> web.StreamResponse:
        packed = gzip.compress(b"x" * 50_000_000)
        return web.Response(status=500, body=packed, headers={"Content-Encoding": "gzip"})

    server.respond = bomb
    tracemalloc.start()
    assert (await api.answer(Target(server.url))).status == 500
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 60_000_000, "the server's own text, and not a second one"


async def test_nobody_there_is_an_answer(api: MlflowApi) -> None:
    answer = await api.answer(Target("http://127.0.0.1:1"))
    assert answer.status is None
    assert "127.0.0.1:1" in answer.problem


def test_no_password_is_in_the_text_of_a_login() -> None:
    assert USER.password not in repr(USER)
