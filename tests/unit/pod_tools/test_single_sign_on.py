"""Who the proxy says that asks: names, groups, and what is believed of nobody."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tracking_operator.pod_tools.programs import PASSWORD_GROUP, SINGLE_SIGN_ON_VARIABLE
from tracking_operator.pod_tools.single_sign_on import (
    SECONDS_REMEMBERED,
    Known,
    Person,
    Refused,
    SaidByProxy,
    Settings,
    SingleSignOn,
    ensure_user,
    person_of,
    require_settings,
    settings_in,
)

PASSWORD = "0123456789abcdef"
SETTINGS = Settings(
    password=PASSWORD,
    groups={"team": "EDIT", "readers": "READ", "owners": "MANAGE", "admins": "ADMIN"},
    default_permission="EDIT",
    groups_claim="groups",
    username_claim="email",
    own_names=frozenset({"admin", "team"}),
)
CLAIMS = {"sub": "1234", "email": "ann@example.com", "groups": ["team"]}


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def credentials(name: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def of_proxy(groups_header: str = "", **claims: object) -> SaidByProxy:
    """What the proxy sends for somebody with a token that says this besides the usual."""
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    token = f"{part({'alg': 'RS256'})}.{part(said)}.c2lnbmF0dXJl"
    return SaidByProxy(credentials("1234"), token, groups_header)


def test_a_person_is_named_by_the_claim_and_may_what_the_group_may() -> None:
    assert person_of(of_proxy(), SETTINGS) == Person("ann@example.com", "EDIT", has_token=True)
    assert person_of(of_proxy(groups=["readers", "owners", "team"]), SETTINGS).permission == "MANAGE"
    assert person_of(of_proxy(groups=["readers", "admins"]), SETTINGS).is_admin
    assert person_of(of_proxy(groups="readers"), SETTINGS).permission == "READ"


@pytest.mark.parametrize(
    "groups",
    [
        None,
        [],
        "",
        "team,admins",
        ["team,admins"],
        ["team "],
        ["Team"],
        ["teams"],
        ["\uff54eam"],
        ['"team"'],
        [["team"]],
        [None, 1],
        {"team": True},
    ],
)
def test_no_other_group_lets_anybody_in(groups: object) -> None:
    with pytest.raises(Refused) as refused:
        person_of(of_proxy("team,admins", groups=groups), SETTINGS)
    assert refused.value.status == 403


def test_groups_in_headers_are_not_believed() -> None:
    assert not person_of(of_proxy("admins"), SETTINGS).is_admin
    assert person_of(of_proxy(PASSWORD_GROUP), SETTINGS).name == "ann@example.com"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Bearer " + part({}) + "." + part(CLAIMS) + ".x",
        credentials("admin", ""),
        credentials("admin", "wrong"),
        credentials("admin", PASSWORD.upper()),
        credentials(PASSWORD, ""),
        credentials("admin") + " ",
        credentials("admin") + ",Basic eDp5",
        "basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode(),
        "Basic " + base64.b64encode(PASSWORD.encode()).decode() + "=",
        "Basic " + base64.b64encode(b"\xff\xfe:" + PASSWORD.encode()).decode(),
        "Basic Og==",
    ],
)
def test_nobody_but_the_proxy_is_heard(authorization: str) -> None:
    with pytest.raises(Refused) as refused:
        person_of(SaidByProxy(authorization, of_proxy().token, PASSWORD_GROUP), SETTINGS)
    assert refused.value.status == 401


def test_a_password_user_is_one_by_the_group_that_the_proxy_gives_to_nobody_else() -> None:
    assert person_of(SaidByProxy(credentials("team"), groups=PASSWORD_GROUP), SETTINGS) == Person(
        "team", "EDIT", has_token=False
    )
    assert person_of(SaidByProxy(credentials("a:b"), groups=PASSWORD_GROUP), SETTINGS).name == "a:b"
    for groups in ("", "team", f"{PASSWORD_GROUP},team", f" {PASSWORD_GROUP}"):
        with pytest.raises(Refused):
            person_of(SaidByProxy(credentials("admin"), groups=groups), SETTINGS)


def test_a_name_is_taken_from_nobody() -> None:
    for claims in (
        {"email": "admin"},
        {"email": "team"},
        {"email": "ann@example.com", "email_verified": False},
        {"email": None, "sub": None},
        {"email": "a\nb"},
        {"email": "a\u202eb"},
        {"email": " ann@example.com"},
        {"email": "a" * 256},
        {"email": ["ann@example.com"], "sub": ""},
    ):
        with pytest.raises(Refused) as refused:
            person_of(of_proxy(**claims), SETTINGS)
        assert refused.value.status == 403, claims


def test_who_has_no_such_claim_is_known_by_the_subject_which_nobody_else_can_be_called() -> None:
    assert person_of(of_proxy(email=None), SETTINGS).name == "sub:1234"
    assert person_of(of_proxy(email="sub:1234", sub="5678"), SETTINGS).name == "sub:5678"


@pytest.mark.parametrize(
    "payload", ["", "!!!", part([]), part("text"), base64.urlsafe_b64encode(b"{").decode()]
)
def test_a_token_that_cannot_be_read_lets_nobody_in(payload: str) -> None:
    with pytest.raises(Refused) as refused:
        person_of(SaidByProxy(credentials("1234"), f"{part({})}.{payload}.x", PASSWORD_GROUP), SETTINGS)
    assert refused.value.status == 401


@dataclass
class FakeUser:
    is_admin: bool


@dataclass
class FakeUsers:
    """MLflow's users."""

    known: dict[str, FakeUser] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    others_are_faster: bool = False

    def has_user(self, username: str) -> bool:
        return username in self.known

    def create_user(self, username: str, password: str, is_admin: bool = False) -> None:
        assert len(password) > 30
        self.calls.append(f"create {username}")
        self.known[username] = FakeUser(is_admin)
        if self.others_are_faster:
            raise RuntimeError("exists")

    def get_user(self, username: str) -> FakeUser:
        return self.known[username]

    def update_user(self, username: str, password: str | None = None, is_admin: bool | None = None) -> None:
        assert password is None
        assert is_admin is not None
        self.calls.append(f"update {username}")
        self.known[username].is_admin = is_admin


def test_a_user_is_made_once_and_is_an_admin_as_long_as_the_groups_say_so() -> None:
    users = FakeUsers()
    for permission, is_admin in (("EDIT", False), ("ADMIN", True), ("ADMIN", True), ("READ", False)):
        ensure_user(Person("ann", permission, has_token=True), users)
        assert users.known["ann"].is_admin == is_admin
    assert users.calls == ["create ann", "update ann", "update ann"]


def test_who_has_a_password_stays_what_it_is() -> None:
    users = FakeUsers({"admin": FakeUser(is_admin=True)})
    ensure_user(Person("admin", "EDIT", has_token=False), users)
    assert users.known["admin"].is_admin


def test_a_user_that_another_process_made_meanwhile_is_taken() -> None:
    users = FakeUsers(others_are_faster=True)
    ensure_user(Person("ann", "EDIT", has_token=True), users)
    assert "ann" in users.known


def test_the_store_is_asked_once_in_a_while_and_at_once_for_another_token() -> None:
    users = FakeUsers()
    found = SingleSignOn(SETTINGS, users)
    for _ in range(3):
        found.person(of_proxy())
    users.calls.clear()
    found.person(of_proxy(groups=["admins"]))
    assert users.calls == ["update ann@example.com"]


def test_what_was_found_is_believed_for_a_moment_only() -> None:
    now = [0.0]
    known = Known(lambda: now[0])
    known.put(b"key", Person("ann", "EDIT", has_token=True))
    assert known.get(b"key")
    assert known.get(b"other") is None
    now[0] = SECONDS_REMEMBERED
    assert known.get(b"key") is None


def test_settings_are_read_from_the_variable_and_the_files(tmp_path: Path) -> None:
    said = {"groups": {"team": "EDIT"}, "groupsClaim": "groups", "usernameClaim": "email"}
    variables = {SINGLE_SIGN_ON_VARIABLE: json.dumps(said)}
    with pytest.raises(SystemExit):
        require_settings(tmp_path, variables)
    (tmp_path / "sso").mkdir()
    (tmp_path / "sso" / "password").write_text("\n")
    with pytest.raises(SystemExit, match="empty"):
        require_settings(tmp_path, variables)
    (tmp_path / "sso" / "password").write_text(f"{PASSWORD}\n")
    (tmp_path / "login").mkdir()
    (tmp_path / "login" / "username").write_text("admin")
    found = settings_in(tmp_path, variables, "READ")
    assert (found.password, found.own_names) == (PASSWORD, frozenset({"admin"}))
    assert found.groups == {"team": "EDIT"}
    assert PASSWORD not in repr(found)
