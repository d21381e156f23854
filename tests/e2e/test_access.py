"""One address that works: who is let in under which name, large artifacts through the Ingress, and moving elsewhere."""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import urllib3

from dev.development_cluster import DevelopmentCluster
from tests.e2e.exposed_servers import DOMAIN, ExposedServer
from tests.e2e.mlflow import API, ARTIFACTS, Tracking, clients, forwarded, staying_ready, wait_until_ready
from tests.waiting import patient, wait_until
from tracking_operator.kube.objects import EVENT, KubeObject

pytest_plugins = [
    "tests.cluster_ingress",
    "tests.cluster_object_store",
    "tests.cluster_postgres",
    "tests.e2e.exposed_servers",
]

EXPERIMENTS = f"{API}/experiments/search?max_results=1"
PAGES_AND_API = ("/", EXPERIMENTS, f"{ARTIFACTS}?path=")
MEBIBYTE = 2**20
UPLOAD = 200 * MEBIBYTE
DOWNLOAD = 50 * MEBIBYTE
SECONDS_FOR_A_LARGE_ARTIFACT = 300.0
SECONDS_TO_MOVE = 300.0


@pytest.fixture
def server(exposed: tuple[ExposedServer, ExposedServer]) -> ExposedServer:
    """The server of one team; the browser uses both."""
    return exposed[1]


def names_of(server: ExposedServer) -> list[str]:
    """Every name under which people and programs know the server, without and with a port."""
    namespace, host = server.team.namespace, urlsplit(server.url).hostname
    service = [f"mlflow{suffix}" for suffix in ("", f".{namespace}", f".{namespace}.svc")]
    service.append(f"mlflow.{namespace}.svc.cluster.local")
    return [f"{name}{port}" for name in (*service, host) for port in ("", ":80")]


def test_its_own_names_are_answered_by_pages_and_api_and_no_other_is(
    cluster: DevelopmentCluster, server: ExposedServer
) -> None:
    with forwarded(cluster, server.team) as nobody:
        known = Tracking(nobody.port, prefix=server.tracking().prefix, login=server.member)
        public = server.tracking().host
        for host in [*names_of(server), public]:
            found = {path: known.answer("GET", path, host=host).status for path in PAGES_AND_API}
            assert found == dict.fromkeys(PAGES_AND_API, 200), host
        for host in ("mlflow.example.org", f"mlflow.{DOMAIN}.example.org", "169.254.169.254"):
            found = {path: known.answer("GET", path, host=host).status for path in PAGES_AND_API}
            assert found == dict.fromkeys(PAGES_AND_API, 403), host


def test_only_the_teams_own_users_are_let_in(exposed: tuple[ExposedServer, ExposedServer]) -> None:
    other, server = exposed
    user, password = server.member
    strangers = [
        None,
        (user, "not the password"),
        (user, password[:-1]),
        ("admin", "password1234"),
        other.member,
        other.administrator,
    ]
    for login in strangers:
        tracking = server.tracking(login)
        found = {path: tracking.answer("GET", path).status for path in PAGES_AND_API}
        assert found == dict.fromkeys(PAGES_AND_API, 401), login and login[0]
        stored = tracking.answer("PUT", f"{ARTIFACTS}/0/foreign.txt", b"foreign")
        assert stored.status == 401
    for login in (server.member, server.administrator):
        found = {path: server.tracking(login).answer("GET", path).status for path in PAGES_AND_API}
        assert found == dict.fromkeys(PAGES_AND_API, 200), login[0]


def test_the_teams_programs_can_log_a_run_without_an_experiment_of_their_own(server: ExposedServer) -> None:
    tracking = server.tracking(server.member)
    run = tracking.log_run("logged to the experiment Default")
    tracking.assert_has(run, "logged to the experiment Default")


def test_large_artifacts_pass_through_the_ingress(server: ExposedServer) -> None:
    tracking = server.tracking(server.member)
    folder = f"{ARTIFACTS}/{tracking.make_experiment(uuid4().hex)}"
    for name, size in (("large.bin", UPLOAD), ("streamed.bin", DOWNLOAD)):
        block = os.urandom(MEBIBYTE)
        stored = send_blocks(tracking, f"{folder}/{name}", block, size // MEBIBYTE)
        assert stored.status == 200, stored.data
        digest, received = fetch(tracking, f"{folder}/{name}")
        assert (received, digest) == (size, digest_of_blocks(block, size // MEBIBYTE))


def send_blocks(tracking: Tracking, path: str, block: bytes, count: int) -> urllib3.BaseHTTPResponse:
    """Upload a block again and again as one artifact, as MLflow's client does: its length is said before.

    Of an upload in chunks MLflow 3.17 stores nothing, and answers 200, with an Ingress or without.
    """
    return urllib3.PoolManager(timeout=patient(SECONDS_FOR_A_LARGE_ARTIFACT)).request(
        "PUT",
        url_of(tracking, path),
        body=(block for _ in range(count)),
        headers={**headers_of(tracking), "Content-Length": str(count * len(block))},
    )


def fetch(tracking: Tracking, path: str) -> tuple[str, int]:
    """Download an artifact piece by piece; what came, as a digest, and how much it was."""
    answer = urllib3.PoolManager(timeout=patient(SECONDS_FOR_A_LARGE_ARTIFACT)).request(
        "GET", url_of(tracking, path), headers=headers_of(tracking), preload_content=False
    )
    assert answer.status == 200
    digest, received = hashlib.sha256(), 0
    for piece in answer.stream(MEBIBYTE):
        digest.update(piece)
        received += len(piece)
    answer.release_conn()
    return digest.hexdigest(), received


def digest_of_blocks(block: bytes, count: int) -> str:
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(block)
    return digest.hexdigest()


def url_of(tracking: Tracking, path: str) -> str:
    return f"http://{tracking.address}:{tracking.port}{tracking.prefix}{path}"


def headers_of(tracking: Tracking) -> dict[str, str]:
    assert tracking.login
    return {"Host": tracking.host, **urllib3.make_headers(basic_auth=":".join(tracking.login))}


def test_another_host_costs_no_request(cluster: DevelopmentCluster, server: ExposedServer) -> None:
    old = server.tracking(server.member)
    old_host, new_host = urlsplit(server.url).hostname or "", f"mlflow-{uuid4().hex[:8]}.{DOMAIN}"
    new = server.tracking_at(server.url.replace(old_host, new_host), server.member)
    assert new.answer("GET", EXPERIMENTS).status == 404
    with clients(server.team, cluster, has_login=True) as inside, asking_all_the_time(old, new) as outside:
        move(server, host=new_host)
        wait_until(lambda: new.answer("GET", EXPERIMENTS).status == 200, 30, "the new host answers")
    assert inside["failures"] == []
    assert inside["answers"] > 0
    assert outside["failures"] == []
    assert outside["answers"] > 0
    assert server.url == new_url(new)
    wait_until(lambda: old.answer("GET", EXPERIMENTS).status == 404, 30, "nothing leads to the old host")


def test_another_path_answers_once_the_pods_are_replaced_and_the_old_one_does_not(
    server: ExposedServer,
) -> None:
    old = server.tracking(server.member)
    path = f"/{server.team.namespace}/{uuid4().hex[:8]}"
    with staying_ready(server.team):
        move(server, path=path)
    new = server.tracking(server.member)
    assert new.prefix == path
    wait_until(lambda: new.answer("GET", EXPERIMENTS).status == 200, 30, "the new path answers")
    wait_until(lambda: old.answer("GET", EXPERIMENTS).status == 404, 30, "the old path does not")
    told = [event["message"] for event in server.team.api.list(EVENT, server.team.namespace)]
    assert [message for message in told if path in message and "old path" in message]


@contextmanager
def asking_all_the_time(old: Tracking, new: Tracking) -> Iterator[KubeObject]:
    """Ask the old address, and the new one where the old is no more; how often there was an answer, and what else."""
    met: KubeObject = {}
    answers, failures, over = [0], list[str](), threading.Event()

    def ask() -> None:
        while not over.is_set() and len(failures) < 10:
            status = status_of(old)
            if status == 404:
                status = status_of(new)
            if status == 200:
                answers[0] += 1
            else:
                failures.append(f"{time.monotonic():.1f}: {status}")
            time.sleep(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield met
    finally:
        over.set()
        thread.join()
    met.update(answers=answers[0], failures=failures)


def status_of(tracking: Tracking) -> int | str:
    try:
        return tracking.answer("GET", EXPERIMENTS).status
    except urllib3.exceptions.HTTPError as error:
        return repr(error)


def move(server: ExposedServer, **address: str) -> None:
    """Give the server another host or path, and wait until it is there."""
    server.team.patch_server({"spec": {"access": address}})
    wait_until_ready(server.team, seconds=SECONDS_TO_MOVE)
    wanted = address.get("host") or address["path"]
    wait_until(lambda: wanted in server.url, SECONDS_TO_MOVE, lambda: f"{server.url} has {wanted}")


def new_url(tracking: Tracking) -> str:
    return f"http://{tracking.host}{tracking.prefix}"
