"""Who asks MLflow, where people log in at an identity provider: what its login calls for each request (``authorization_function``).

A proxy in the same pod (oauth2-proxy) has logged somebody in. It hands each request on with

    Authorization: Basic base64(subject:PASSWORD)
    X-Tracking-Operator-Token: ID-TOKEN

where PASSWORD is known to the proxy and to this program alone, so that nobody else can say who they are; and the ID token is the
provider's, which the proxy has verified. Groups are read from the token and not from ``X-Forwarded-Groups``: there they stand with
commas between them, and a group may be called ``staff,admins``. Who has logged in by a password of the server's own (the Secret
``NAME-auth``, by the proxy's htpasswd file) has no token, and the one group that the proxy gives to nobody else.

What a token says takes effect with the next request: a user is made where there is none, and is an admin exactly if the groups say so.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from tracking_operator.pod_tools.programs import (
    ADMIN,
    CREDENTIALS,
    GROUPS_HEADER,
    PASSWORD_GROUP,
    PERMISSIONS,
    SINGLE_SIGN_ON_FOLDER,
    SINGLE_SIGN_ON_VARIABLE,
    TOKEN_HEADER,
)

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.datastructures import Authorization

PASSWORD_FILE: Final = "password"  # noqa: S105 - the name of a file
EMAIL_CLAIM: Final = "email"
SUBJECT: Final = "sub:"
"""How names of those begin of whom the token has no such claim as names are made of: programs. No address begins like it."""
LONGEST_NAME: Final = 255
SECONDS_REMEMBERED: Final = 30.0
MOST_REMEMBERED: Final = 1024

PASSWORD_OF_PROXY: Final = re.compile(r"Basic (?P<basic>[A-Za-z0-9+/=]+)")
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Refused(Exception):
    """Nobody is let in; the text is for whoever asks."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Settings:
    """What the class says of single sign-on, and what the proxy has in common with this program."""

    password: str = field(repr=False)
    groups: Mapping[str, str]
    """What the members of each group may do."""
    default_permission: str
    """What those may do who log in by a password of the server's own."""
    groups_claim: str
    username_claim: str
    own_names: frozenset[str]
    """Whose passwords are the server's own: the provider gives nobody such a name."""


@dataclass(frozen=True)
class Person:
    """Who asks."""

    name: str
    permission: str
    """What may be done with what belongs to others, in MLflow's words; or ADMIN."""
    has_token: bool

    @property
    def is_admin(self) -> bool:
        """Whether MLflow asks nothing further."""
        return self.permission == ADMIN


def settings_in(folder: Path, variables: Mapping[str, str], default_permission: str) -> Settings:
    """Read the settings, once per process: the proxy, too, reads the password when it starts."""
    said = json.loads(variables[SINGLE_SIGN_ON_VARIABLE])
    password = (folder / SINGLE_SIGN_ON_FOLDER / PASSWORD_FILE).read_text().strip()
    if not password:
        raise ValueError("the password of the proxy is empty")
    files = [folder / "login" / name for name in ("username", "clientUsername")]
    return Settings(
        password,
        dict(said["groups"]),
        default_permission,
        said["groupsClaim"],
        said["usernameClaim"],
        frozenset(file.read_text().strip() for file in files if file.is_file()),
    )


@dataclass(frozen=True)
class SaidByProxy:
    """What the proxy says of a request, if it is the proxy."""

    authorization: str = field(repr=False)
    token: str = field(default="", repr=False)
    groups: str = ""


def person_of(said: SaidByProxy, settings: Settings) -> Person:
    """Who the proxy says that asks.

    Raises:
        Refused: it was not the proxy who said it, or nobody who may do anything.

    """
    found = PASSWORD_OF_PROXY.fullmatch(said.authorization)
    # Names may hold colons, the password holds none.
    name, _, password = _decoded(found["basic"] if found else "").rpartition(":")
    if not hmac.compare_digest(password.encode(), settings.password.encode()):
        raise Refused(401, "You are not authenticated: nobody but the proxy of this server is heard here.")
    if said.token:
        return _person_in(_claims_in(said.token), settings)
    if said.groups != PASSWORD_GROUP:
        raise Refused(401, "You are not authenticated: the proxy has no token of yours. Log in again.")
    return Person(_valid(name), settings.default_permission, has_token=False)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _claims_in(token: str) -> Mapping[str, object]:
    """What a token says that the proxy has verified."""
    try:
        if not TOKEN.fullmatch(token):
            raise ValueError("no token")
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError as error:
        raise Refused(401, "The token of the identity provider cannot be read.") from error
    if not isinstance(claims, dict):
        raise Refused(401, "The token of the identity provider cannot be read.")
    return claims


def _person_in(claims: Mapping[str, object], settings: Settings) -> Person:
    name = _name_in(claims, settings)
    if name in settings.own_names:
        raise Refused(
            403,
            f"The name {name!r} belongs to a password of this server: the provider has to give you another.",
        )
    permissions = [settings.groups[one] for one in _groups_in(claims, settings) if one in settings.groups]
    if not permissions:
        raise Refused(
            403,
            f"You are logged in as {name}, and none of your groups is let in: ask the owners of this server.",
        )
    return Person(name, max(permissions, key=PERMISSIONS.index), has_token=True)


def _name_in(claims: Mapping[str, object], settings: Settings) -> str:
    name = claims.get(settings.username_claim)
    if settings.username_claim == EMAIL_CLAIM and claims.get("email_verified") is False:
        raise Refused(403, "The identity provider has not verified your address.")
    if isinstance(name, str) and name and not name.startswith(SUBJECT):
        return _valid(name)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Refused(403, f"The token has neither the claim {settings.username_claim!r} nor 'sub'.")
    return _valid(f"{SUBJECT}{subject}")


def _valid(name: str) -> str:
    if not name or len(name) > LONGEST_NAME or UNPRINTABLE.search(name) or name != name.strip():
        raise Refused(403, "Your name at the identity provider cannot be that of a user of MLflow.")
    return name


def _groups_in(claims: Mapping[str, object], settings: Settings) -> list[str]:
    """The groups of a token, each as it is: a single one may be no list (Keycloak's mappers can do so)."""
    groups = claims.get(settings.groups_claim)
    listed = groups if isinstance(groups, list) else [groups]
    return [one for one in listed if isinstance(one, str)]


class User(Protocol):
    """The part of one of MLflow's users that matters here."""

    is_admin: bool


class Users(Protocol):
    """The part of MLflow's store of users that matters here (mlflow/server/auth/sqlalchemy_store.py, 3.17.2 and 3.18.0)."""

    def has_user(self, username: str) -> bool:
        """Whether there is such a user."""

    def create_user(self, username: str, password: str, is_admin: bool = False) -> object:
        """Make a user. Raises MlflowException: there is one already."""

    def get_user(self, username: str) -> User:
        """The user."""

    def update_user(self, username: str, password: str | None = None, is_admin: bool | None = None) -> object:
        """Change a user."""


class Known:
    """Who was found in which credentials a moment ago: MLflow asks several times for one request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[bytes, tuple[float, Person]] = {}

    def get(self, key: bytes) -> Person | None:
        """Who it was, if that is not too long ago."""
        with self._lock:
            until, person = self._found.get(key, (0.0, None))
        return person if self._clock() < until else None

    def put(self, key: bytes, person: Person) -> None:
        """Remember it for a moment."""
        with self._lock:
            if len(self._found) >= MOST_REMEMBERED:
                self._found.clear()
            self._found[key] = (self._clock() + SECONDS_REMEMBERED, person)


def ensure_user(person: Person, users: Users) -> None:
    """Make the user, or an admin of it, or none any more. Whoever has a password of the server's own stays what it is."""
    if not users.has_user(person.name):
        try:
            # Nobody knows it: a server that goes back to passwords gives this one to nobody.
            users.create_user(person.name, secrets.token_urlsafe(32), is_admin=person.is_admin)
        except Exception:
            if not users.has_user(person.name):  # another process was faster
                raise
    if person.has_token and users.get_user(person.name).is_admin != person.is_admin:
        users.update_user(person.name, is_admin=person.is_admin)


PERMISSION: ContextVar[str] = ContextVar("permission", default=PERMISSIONS[0])
"""What whoever asks may do with what belongs to others."""


class SettingsOfMlflow:
    """MLflow's settings of its login, in which the default permission is that of whoever asks."""

    def __init__(self, settings: object) -> None:
        self._settings = settings

    def __getattr__(self, name: str) -> object:
        return getattr(self._settings, name)

    @property
    def default_permission(self) -> str:
        """MLflow reads it anew for each decision (mlflow/server/auth/__init__.py)."""
        return PERMISSION.get()


class SingleSignOn:
    """Finds out who asks one MLflow."""

    def __init__(self, settings: Settings, users: Users) -> None:
        self._settings = settings
        self._users = users
        self._known = Known()

    def person(self, said: SaidByProxy) -> Person:
        """Who asks, as a user of MLflow. Raises Refused."""
        key = hashlib.sha256("\n".join((said.authorization, said.token, said.groups)).encode()).digest()
        person = self._known.get(key)
        if person is None:
            person = person_of(said, self._settings)
            ensure_user(person, self._users)
            self._known.put(key, person)
        return person


_begun = threading.Lock()
_single_sign_on: list[SingleSignOn] = []


def _of_this_server() -> SingleSignOn:
    """What answers here, made with the first request: MLflow has read its settings by then."""
    with _begun:
        if not _single_sign_on:
            from mlflow.server import auth

            settings = settings_in(CREDENTIALS, os.environ, auth.auth_config.default_permission)
            auth.auth_config = SettingsOfMlflow(auth.auth_config)
            _single_sign_on.append(SingleSignOn(settings, cast(Users, auth.store)))
        return _single_sign_on[0]


def authenticate() -> "Authorization | Response":
    """Say who asks: MLflow calls this for each request, with Flask's request around it."""
    from flask import make_response, request
    from werkzeug.datastructures import Authorization

    said = SaidByProxy(
        *(request.headers.get(name, "") for name in ("Authorization", TOKEN_HEADER, GROUPS_HEADER))
    )
    try:
        person = _of_this_server().person(said)
    except Refused as refused:
        return make_response(refused.message, refused.status, {"Content-Type": "text/plain; charset=utf-8"})
    # An admin's own default does not matter; MLflow may look it up nevertheless.
    PERMISSION.set("MANAGE" if person.is_admin else person.permission)
    return Authorization("basic", {"username": person.name, "password": ""})


def require_settings(folder: Path, variables: Mapping[str, str]) -> None:
    """End the program if single sign-on is asked for and cannot be had: MLflow would find out with the first request."""
    try:
        settings_in(folder, variables, PERMISSIONS[0])
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"tracking-operator: the settings of single sign-on cannot be read: {error}")
