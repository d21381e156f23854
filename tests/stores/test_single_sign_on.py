"""A real MLflow behind a real oauth2-proxy: who gets in, as whom, and who does not, whatever they send."""

import base64
import json
import time
import urllib.parse
from collections.abc import Iterator

import pytest

from dev.identity_provider.provider import SigningKey, User, unsigned
from dev.loopback import free_port
from tests.stores.single_sign_on_world import (
    CLIENT,
    CREDENTIALS,
    EXPERIMENTS,
    PREFIX,
    SECONDS_UNTIL_A_RECHECK,
    Browser,
    World,
    basic,
    bearer,
    proxy,
    raw,
    send,
    sign_on_secret,
    users,
    world,
)
from tests.waiting import wait_until
from tracking_operator.pod_tools.programs import PASSWORD_GROUP
from tracking_operator.resources.pod.login_proxy import PROXY_PASSWORD
from tracking_operator.resources.secret import text_in

pytestmark = pytest.mark.each_mlflow

ADMIN = basic(CREDENTIALS.admin, CREDENTIALS.admin_password)
TEAM = basic(CREDENTIALS.user, CREDENTIALS.user_password)
WHOAMI = "/api/2.0/mlflow/users/current"
SEARCH = f"{EXPERIMENTS}/search?max_results=1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One server for all tests."""
    with world(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture(autouse=True)
def _provider_as_it_was(server: World) -> None:
    server.provider.users = users()


def who(server: World, browser: Browser) -> tuple[str, bool]:
    """As whom MLflow knows somebody, and whether as an admin."""
    answer = browser.get(f"{server.url}{WHOAMI}")
    assert answer.status == 200, answer
    user = json.loads(answer.body)["user"]
    return user["username"], user["is_admin"]


def logged_in(server: World, user: str) -> Browser:
    browser = Browser(user)
    answer = browser.open(f"{server.url}/")
    assert answer.status == 200, (browser.statuses, answer, server.proxy_log)
    return browser


def test_people_are_led_to_the_provider_and_back_to_the_page_they_wanted(server: World) -> None:
    browser = Browser("ann")
    answer = browser.open(f"{server.url}/?page=models")
    assert browser.statuses == [302, 302, 302, 200]
    assert "<html" in answer.body.lower()
    assert who(server, browser) == ("ann@example.com", False)
    cookie = next(one for one in browser.jar if one.name.startswith("_mlflow_team-a_mlflow"))
    assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == (PREFIX, True)


def test_groups_decide_what_people_may_do(server: World) -> None:
    ann, ben, boss = (logged_in(server, one) for one in ("ann", "ben", "boss"))
    assert who(server, boss) == ("boss@example.com", True)
    made = server.make_experiment("of-ann", **bearer(server.provider.token("ann", CLIENT)))
    assert made.status == 200, made
    identity = json.loads(made.body)["experiment_id"]
    rename = json.dumps({"experiment_id": identity, "new_name": "renamed"})
    read = f"{EXPERIMENTS}/get?experiment_id={identity}"
    for browser in (ann, ben, boss):
        assert browser.get(f"{server.url}{read}").status == 200
    statuses = {
        user: server.ask(
            f"{EXPERIMENTS}/update", method="POST", body=rename, **bearer(server.provider.token(user, CLIENT))
        ).status
        for user in ("ben", "boss", "ann")
    }
    # Ben's group may read, whatever others may do by default; Ann made it.
    assert statuses == {"ben": 403, "boss": 200, "ann": 200}
    # The experiment Default belongs to nobody.
    default = json.dumps({"experiment_id": "0", "key": "a", "value": "b"})
    tag = f"{EXPERIMENTS}/set-experiment-tag"
    assert {
        user: server.ask(
            tag, method="POST", body=default, **bearer(server.provider.token(user, CLIENT))
        ).status
        for user in ("ben", "ann")
    } == {"ben": 403, "ann": 200}


@pytest.mark.parametrize("user", ["eve", "nobody", "mallory"])
def test_others_are_refused_by_page_and_api(server: World, user: str) -> None:
    browser = Browser(user)
    assert browser.open(f"{server.url}/").status == 403
    assert browser.get(f"{server.url}{SEARCH}").status == 401
    assert server.ask(**bearer(server.provider.token(user, CLIENT))).status == 403


def test_a_group_with_a_comma_in_its_name_is_one_group(server: World) -> None:
    server.provider.users["mallory"] = User(["mlflow-team-a", "x,mlflow-admins", "mlflow-admins,", "ADMIN"])
    assert who(server, logged_in(server, "mallory")) == ("mallory@example.com", False)


def test_somebody_with_many_groups_gets_in(server: World) -> None:
    """The session takes several cookies, and the token goes on to MLflow with each request."""
    server.provider.users["ann"].groups += [f"a-group-of-the-company-{number:04}" for number in range(300)]
    ann = logged_in(server, "ann")
    assert len([one for one in ann.jar if one.name.startswith("_mlflow")]) > 1
    assert who(server, ann) == ("ann@example.com", False)


def test_programs_come_with_the_passwords_of_the_server(server: World) -> None:
    for headers, name, is_admin in ((TEAM, "team", False), (ADMIN, "admin", True)):
        answer = server.ask(WHOAMI, **headers)
        assert answer.status == 200, (answer, server.proxy_log)
        user = json.loads(answer.body)["user"]
        assert (user["username"], user["is_admin"]) == (name, is_admin)
    assert server.make_experiment("of-the-team", **TEAM).status == 200
    assert server.ask(**basic("team", "wrong")).status == 401
    assert server.ask(**basic("admin", CREDENTIALS.user_password)).status == 401


def test_a_password_that_changes_is_taken_up_without_a_restart(server: World) -> None:
    file, before = server.folder / "htpasswd", (server.folder / "htpasswd").read_text()
    team = before.splitlines()[1]
    file.write_text(before.replace(team, "team:{SHA}" + base64.b64encode(bytes(20)).decode()))
    wait_until(lambda: server.ask(**TEAM).status == 401, 30, "the old password to be refused")
    file.write_text(before)
    wait_until(lambda: server.ask(**TEAM).status == 200, 30, "the password to be good again")


def test_nobody_gets_in_without_a_login(server: World) -> None:
    assert server.ask().status == 401
    page = server.ask("/")
    assert page.status == 302
    assert page.headers["Location"].startswith(f"{server.provider.issuer}/authorize?")
    assert "code_challenge_method=S256" in page.headers["Location"]


def test_tokens_that_are_not_for_this_server_let_nobody_in(server: World) -> None:
    provider, claims = server.provider, server.provider.claims("ann", CLIENT)
    good = provider.token("ann", CLIENT)
    head, _, signature = good.split(".")
    admin = (
        base64.urlsafe_b64encode(json.dumps(claims | {"groups": ["mlflow-admins"]}).encode())
        .decode()
        .rstrip("=")
    )
    bad = {
        "of another server": provider.token("ann", "mlflow/team-b/mlflow"),
        "of no server": provider.token("ann", CLIENT, aud=None),
        "unsigned": unsigned(claims),
        "expired": provider.token("ann", CLIENT, exp=int(time.time()) - 3600),
        "of another key": SigningKey("second").sign(claims),
        "of another key by the same name": SigningKey("first").sign(claims),
        "of another issuer": provider.token("ann", CLIENT, iss="http://127.0.0.1:1"),
        "with an address that nobody verified": provider.token("ann", CLIENT, email_verified=False),
        "changed": f"{head}.{admin}.{signature}",
        "garbage": "eyJ.eyJ.eyJ",
    }
    assert server.ask(**bearer(good)).status == 200
    assert server.ask(**basic("anybody", good)).status == 200
    found = {what: server.ask(**bearer(token)).status for what, token in bad.items()}
    assert found == dict.fromkeys(bad, 401), server.proxy_log
    assert {what: server.ask(**basic("", token)).status for what, token in bad.items()} == dict.fromkeys(
        bad, 401
    )
    for token in [good, *bad.values()]:
        assert token not in server.proxy_log


def test_tokens_are_refused_where_the_class_does_not_accept_them(server: World) -> None:
    port = server.port
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(server, "port", free_port())
        with proxy(server, changes={"--skip-jwt-bearer-tokens=true": "--skip-jwt-bearer-tokens=false"}):
            token = server.provider.token("ann", CLIENT)
            assert server.ask(**bearer(token)).status == 401
            assert server.ask(**TEAM).status == 200
            assert token not in server.proxy_log
    assert server.port == port


FORGED = {
    "X_Forwarded_User": "admin",
    "X_Forwarded_Email": "boss@example.com",
    "X_Forwarded_Groups": "mlflow-admins",
    "X_Forwarded_Preferred_Username": "boss",
    "X_Auth_Request_User": "admin",
    "X_Auth_Request_Groups": "mlflow-admins",
    "X_Forwarded_For": "127.0.0.1",
    "X_Real_Ip": "127.0.0.1",
    "X_Tracking_Operator_Token": unsigned(
        {"sub": "x", "email": "boss@example.com", "groups": ["mlflow-admins"]}
    ),
}


def test_forged_headers_make_nobody_somebody_else(server: World) -> None:
    assert server.ask(**FORGED).status == 401
    ann = bearer(server.provider.token("ann", CLIENT))
    for forged in (FORGED, {"X_Forwarded_Groups": PASSWORD_GROUP}):
        user = json.loads(server.ask(WHOAMI, **ann, **forged).body)["user"]
        assert (user["username"], user["is_admin"]) == ("ann@example.com", False)
    # A name with underscores is another one to the proxy, and the same to some servers behind it.
    answer = send(server.port, f"{PREFIX}{WHOAMI}", FORGED | TEAM)
    assert json.loads(answer.body)["user"]["username"] == "team"


def test_mlflows_own_port_hears_nobody_but_the_proxy(server: World) -> None:
    token = server.provider.token("boss", CLIENT)
    attempts = [
        {},
        FORGED,
        ADMIN | {"X_Forwarded_Groups": PASSWORD_GROUP},
        bearer(token),
        basic("admin", "wrong") | {"X_Tracking_Operator_Token": token},
        {"Authorization": f"Basic {base64.b64encode(b'admin:').decode()}"},
    ]
    assert [server.ask_mlflow(**one).status for one in attempts] == [401] * len(attempts)
    # What is tried is not refused for another reason: whoever had the proxy's password would get in.
    secret = text_in(sign_on_secret(server.model), PROXY_PASSWORD)
    as_proxy = {
        "Authorization": basic("admin", secret)["Authorization"],
        "X_Forwarded_Groups": PASSWORD_GROUP,
    }
    assert server.ask_mlflow(**as_proxy).status == 200
    assert server.ask_mlflow(Authorization=as_proxy["Authorization"]).status == 401


def test_nobody_but_a_probe_gets_past_the_login_by_the_path_of_the_health(server: World) -> None:
    assert server.ask("/health").status == 200
    variants = (
        "/health/", "/%2e%2e/health", "/health;x", "/health/../api/2.0/mlflow/experiments/search", "//health", "/health%2f..%2fapi",
        "/health?/../../api", "/HEALTH", "/health%00", "/health/..;/api/2.0/mlflow/experiments/search",
    )  # fmt: skip
    for path in variants:
        answer = raw(server.port, f"{PREFIX}{path}")
        # The query of a path is no part of it.
        assert answer.status != 200 or answer.body == "OK", (path, answer)
    assert server.ask("/health", method="POST", body="{}").status in (302, 401)


def test_a_login_sends_nobody_to_another_host(server: World) -> None:
    for place in (
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        f"{PREFIX}/@evil.example",
    ):
        browser = Browser("ann")
        query = urllib.parse.urlencode({"rd": place})
        # What is refused leads to /, which is outside of this server's prefix.
        browser.open(f"{server.url}/oauth2/start?{query}")
        assert {urllib.parse.urlsplit(one).hostname for one in browser.places} == {"127.0.0.1"}
        assert len(browser.places) > 3
        last = browser.get(f"{server.url}/oauth2/sign_out?{query}")
        host = urllib.parse.urlsplit(urllib.parse.urljoin(server.url, last.headers["Location"])).hostname
        assert host == "127.0.0.1", last.headers


def test_who_signs_out_is_out(server: World) -> None:
    ann = logged_in(server, "ann")
    ann.get(f"{server.url}/oauth2/sign_out?rd={PREFIX}/")
    assert ann.get(f"{server.url}{SEARCH}").status == 401


def test_a_callback_that_nobody_asked_for_logs_nobody_in(server: World) -> None:
    """A code of Ann's, in a browser that did not ask for it: state and PKCE belong to the browser."""
    started = Browser("ann").get(f"{server.url}/")
    place = Browser("ann").get(started.headers["Location"]).headers["Location"]
    victim = Browser()
    assert victim.get(place).status in (403, 500)
    assert victim.get(f"{server.url}{SEARCH}").status == 401


def test_who_left_the_group_or_was_disabled_is_out_when_the_provider_is_asked_again(server: World) -> None:
    ann, ben = logged_in(server, "ann"), logged_in(server, "ben")
    server.provider.users["ann"].groups = ["staff"]
    server.provider.users["ben"].is_disabled = True

    def are_out() -> bool:
        return all(one.get(f"{server.url}{SEARCH}").status in (401, 403) for one in (ann, ben))

    wait_until(are_out, 10 * SECONDS_UNTIL_A_RECHECK, "both sessions to end")


def test_who_becomes_an_admin_is_one_and_stops_to_be_one_with_the_group(server: World) -> None:
    ann = logged_in(server, "ann")
    server.provider.users["ann"].groups.append("mlflow-admins")
    wait_until(lambda: who(server, ann) == ("ann@example.com", True), 30, "an admin")
    server.provider.users["ann"].groups.remove("mlflow-admins")
    wait_until(lambda: who(server, ann) == ("ann@example.com", False), 30, "an admin no more")


def test_a_name_of_the_server_itself_is_given_to_nobody_by_the_provider(server: World) -> None:
    for name in (CREDENTIALS.admin, CREDENTIALS.user):
        token = server.provider.token("ann", CLIENT, email=name)
        answer = server.ask(WHOAMI, **bearer(token))
        assert answer.status == 403, answer


def test_a_program_of_the_provider_is_known_by_its_subject(server: World) -> None:
    token = server.provider.token("ann", CLIENT, email=None, sub="boss@example.com")
    user = json.loads(server.ask(WHOAMI, **bearer(token)).body)["user"]
    assert (user["username"], user["is_admin"]) == ("sub:boss@example.com", False)


def test_routes_of_fastapi_ask_the_same(server: World) -> None:
    path = "/api/2.0/mlflow-artifacts/artifacts/0/some/file.txt"
    assert server.ask(path).status == 401
    assert server.ask(path, **bearer(server.provider.token("eve", CLIENT))).status == 403
    put = {
        user: server.ask(path, method="PUT", body="x", **bearer(server.provider.token(user, CLIENT))).status
        for user in ("ben", "ann")
    }
    assert put == {"ben": 403, "ann": 200}
    assert server.ask(path, **TEAM).body == "x"


def test_a_session_of_another_server_is_none_here(server: World) -> None:
    """The same provider, host, path and client, and another secret for cookies."""
    ann, port = logged_in(server, "ann"), server.port
    other = "A" * 43 + "="
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(server, "port", free_port())
        (server.folder / "other").write_text(other)
        with proxy(server, changes={"cookieSecret": "other"}):
            assert ann.get(f"http://127.0.0.1:{server.port}{PREFIX}{SEARCH}").status == 401
    assert server.port == port


def test_who_is_in_stays_in_while_the_provider_is_away(server: World) -> None:
    ann = logged_in(server, "ann")
    server.provider.is_away = True
    try:
        deadline = time.monotonic() + 2 * SECONDS_UNTIL_A_RECHECK
        wait_until(lambda: time.monotonic() > deadline, 30, "a recheck to be due")
        assert ann.get(f"{server.url}{SEARCH}").status == 200
        assert Browser("ben").open(f"{server.url}/").status == 503
        assert server.ask(**TEAM).status == 200
    finally:
        server.provider.is_away = False
