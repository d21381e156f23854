"""What goes over the wire, and what becomes of the answers: against a small HTTP server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from tests.unit.http_server import serving
from tests.unit.kube.manifests import service
from tracking_operator.api.labels_and_annotations import FIELD_MANAGER
from tracking_operator.kube.client import Call, KubeClient
from tracking_operator.kube.connection import NoClusterError, load_configuration
from tracking_operator.kube.errors import NO_ANSWER, ApiError
from tracking_operator.kube.objects import SERVICE, KubeObject
from tracking_operator.shares import Shares

Answer = Callable[[web.Request], web.StreamResponse]


class ApiServer:
    """Records requests and gives the answer that a test has set."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.answer: Answer = lambda _: web.json_response({})
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        return self.answer(request)

    def will_answer(self, content: KubeObject, status: int = 200, **headers: str) -> None:
        self.answer = lambda _: web.json_response(
            content, status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    async with serving(server.handle) as server.url:
        yield server


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[KubeClient]:
    async with KubeClient(Configuration(host=server.url)) as client:
        yield client


async def test_apply_is_a_forced_server_side_apply_under_our_name(
    server: ApiServer, client: KubeClient
) -> None:
    server.will_answer(service())
    await client.apply(service())
    (request,) = server.requests
    assert (request.method, request.path) == ("PATCH", "/api/v1/namespaces/team-a/services/mlflow")
    assert request.content_type == "application/apply-patch+yaml"
    assert dict(request.query) == {"fieldManager": FIELD_MANAGER, "force": "true"}
    assert json.loads(server.bodies[0]) == service()


async def test_apply_of_a_subresource(server: ApiServer, client: KubeClient) -> None:
    await client.apply(service(), subresource="status")
    assert server.requests[0].path.endswith("/services/mlflow/status")


async def test_delete_names_the_uid(server: ApiServer, client: KubeClient) -> None:
    assert await client.delete(SERVICE, "team-a", "mlflow", uid="u")
    assert json.loads(server.bodies[0]) == {
        "propagationPolicy": "Background",
        "preconditions": {"uid": "u"},
    }


async def test_what_is_not_there_is_none(server: ApiServer, client: KubeClient) -> None:
    server.will_answer({"kind": "Status", "reason": "NotFound", "message": "not found"}, status=404)
    assert await client.get(SERVICE, "team-a", "mlflow") is None
    assert not await client.delete(SERVICE, "team-a", "mlflow")
    with pytest.raises(ApiError):
        await client.list(SERVICE)


async def test_list_fills_in_what_a_list_leaves_out(server: ApiServer, client: KubeClient) -> None:
    server.will_answer({"metadata": {"resourceVersion": "42"}, "items": [{"metadata": {"name": "a"}}]})
    found, version = await client.list_with_version(SERVICE, None, "a=b")
    assert found == [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}]
    assert version == 42
    assert server.requests[0].query["labelSelector"] == "a=b"


async def test_refusal_becomes_an_error_with_its_causes(server: ApiServer, client: KubeClient) -> None:
    cause = {"field": "spec.ports", "reason": "FieldValueInvalid", "message": "must be valid"}
    status = {"kind": "Status", "reason": "Invalid", "message": "no", "details": {"causes": [cause]}}
    server.will_answer(status, status=422, Retry_After="3")
    with pytest.raises(ApiError) as caught:
        await client.apply(service())
    assert (caught.value.status, caught.value.reason, caught.value.message) == (422, "Invalid", "no")
    assert caught.value.causes == ("FieldValueInvalid",)
    assert caught.value.retry_after == 3.0


async def test_words_of_a_proxy_in_between_are_understood(server: ApiServer, client: KubeClient) -> None:
    server.answer = lambda _: web.Response(status=502, text="<html>Bad Gateway</html>")
    with pytest.raises(ApiError) as caught:
        await client.get(SERVICE, "team-a", "mlflow")
    assert (caught.value.status, caught.value.message) == (502, "<html>Bad Gateway</html>")


async def test_no_answer_is_an_error_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with KubeClient(Configuration(host=f"http://127.0.0.1:{port}")) as client:
        with pytest.raises(ApiError) as caught:
            await client.get(SERVICE, "team-a", "mlflow")
    assert caught.value.status == NO_ANSWER


async def test_every_call_is_observed(server: ApiServer) -> None:
    calls: list[Call] = []
    async with KubeClient(Configuration(host=server.url), observer=calls.append) as client:
        await client.get(SERVICE, "team-a", "mlflow")
        server.will_answer({}, status=500)
        with pytest.raises(ApiError):
            await client.apply(service())
    assert [(call.verb, call.kind, call.status) for call in calls] == [
        ("get", "Service", 200),
        ("apply", "Service", 500),
    ]


async def test_token_that_is_replaced_on_disk_is_used_from_then_on(server: ApiServer) -> None:
    configuration = Configuration(host=server.url)
    tokens = iter(["bearer one", "bearer two"])

    def refresh(current: Configuration) -> None:
        current.api_key["BearerToken"] = next(tokens)

    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]
    async with KubeClient(configuration) as client:
        await client.get(SERVICE, "team-a", "mlflow")
        await client.get(SERVICE, "team-a", "mlflow")
    assert [request.headers["Authorization"] for request in server.requests] == ["bearer one", "bearer two"]


async def test_access_review_asks_for_group_and_namespace(server: ApiServer, client: KubeClient) -> None:
    server.will_answer({"status": {"allowed": True}})
    assert await client.can_i("list", SERVICE, "team-a")
    asked = json.loads(server.bodies[0])["spec"]["resourceAttributes"]
    assert asked == {"verb": "list", "resource": "services", "namespace": "team-a"}


async def test_no_cluster_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoClusterError, match="point KUBECONFIG at a kubeconfig file"):
        await load_configuration(tmp_path / "absent")


async def test_kubeconfig_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": "http://k:1"}}],
                "users": [{"name": "u", "user": {"token": "secret"}}],
            }
        )
    )
    configuration = await load_configuration(file)
    assert configuration.host == "http://k:1"
    assert await configuration.get_api_key_with_prefix("BearerToken") == "Bearer secret"


async def test_a_log_is_read_to_its_end_also_if_it_comes_in_pieces(
    server: ApiServer, client: KubeClient
) -> None:
    lines = [f"line {number} {'x' * 1000}\n" for number in range(300)]

    async def pieces() -> AsyncIterator[bytes]:
        for line in lines:
            yield line.encode()
            await asyncio.sleep(0)

    server.answer = lambda _: web.Response(body=pieces())
    assert await client.pod_log("team-a", "attacker") == "".join(lines)
    assert server.requests[0].path == "/api/v1/namespaces/team-a/pods/attacker/log"


async def test_requests_may_be_made_as_somebody_else(server: ApiServer) -> None:
    async with KubeClient(
        Configuration(host=server.url), impersonated="a-team", field_manager="a-team"
    ) as client:
        await client.create(service(), dry_run=True)
    (request,) = server.requests
    assert request.headers["Impersonate-User"] == "a-team"
    assert dict(request.query) == {"fieldManager": "a-team", "dryRun": "All"}


async def test_a_namespace_that_asks_much_keeps_nobody_from_asking(server: ApiServer) -> None:
    """Three places, two for one namespace: while its requests hang, somebody else's is answered."""
    hangs, have_come = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "team-evil" in request.path:
            server.requests.append(request)
            if len(server.requests) == 2:
                have_come.set()
            await hangs.wait()
        return web.json_response({})

    async with serving(answer) as url, KubeClient(Configuration(host=url), shares=Shares(3, 2)) as client:
        evil = [asyncio.create_task(client.get(SERVICE, "team-evil", str(number))) for number in range(5)]
        async with asyncio.timeout(5):
            assert await client.get(SERVICE, "team-a", "mlflow") == {}
            await have_come.wait()
        assert len(server.requests) == 2
        hangs.set()
        assert await asyncio.gather(*evil) == [{}] * 5
        assert len(server.requests) == 5


async def test_a_client_of_its_own_waits_for_nobody(server: ApiServer) -> None:
    server.will_answer({})
    shares = Shares(1, 1)
    async with KubeClient(Configuration(host=server.url), shares=shares) as client, client.alone() as own:
        assert shares.take_at_once("team-a")
        waiting = asyncio.create_task(client.get(SERVICE, "team-b", "mlflow"))
        assert await own.get(SERVICE, "team-b", "mlflow") == {}
        assert not waiting.done()
        shares.give_back("team-a")
        assert await waiting == {}


async def test_of_an_answer_with_a_limit_no_more_is_read(server: ApiServer, client: KubeClient) -> None:
    large = {"message": "x" * 500_000}
    server.will_answer({"metadata": {"resourceVersion": "1"}, "items": [large] * 20})
    with pytest.raises(ApiError, match="longer than 100000 bytes"):
        await client.list(SERVICE, "team-a", most_bytes=100_000)
    server.will_answer({"metadata": {"resourceVersion": "1"}, "items": [{"message": "x"}]})
    (found,) = await client.list(SERVICE, "team-a", most_bytes=100_000)
    assert found["message"] == "x"
