"""A small OpenID provider: code flow with PKCE, refresh tokens, groups, and tokens as a test wants them.

Only the standard library and ``cryptography``, so that it runs in any pod with MLflow's image: ``python3 provider.py 8080
http://idp.example:8080`` takes its users and clients from the file ``IDENTITY_PROVIDER_WORLD`` names (JSON), and lets whoever
reaches it change them at ``/test/…``. It checks what a provider has to check of a client, and nobody's password: for tests only.
"""

import base64
import hashlib
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SECONDS_OF_A_TOKEN = 300
WORLD_VARIABLE = "IDENTITY_PROVIDER_WORLD"


@dataclass
class User:
    """Somebody who can log in."""

    groups: list[str] = field(default_factory=list)
    is_disabled: bool = False
    claims: dict[str, Any] = field(default_factory=dict)
    """What a token says beside the usual, or instead of it."""


@dataclass
class Client:
    """A program that people log in to; an empty secret is a public one's."""

    secret: str
    redirect_uris: list[str]


@dataclass(frozen=True)
class _Grant:
    user: str
    client: str
    redirect_uri: str = ""
    challenge: str = ""
    nonce: str = ""


class SigningKey:
    """A key of a provider, by which others know its tokens."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(self, claims: Mapping[str, object]) -> str:
        """Make a token (RS256)."""
        head = {"alg": "RS256", "typ": "JWT", "kid": self.kid}
        text = f"{_json_part(head)}.{_json_part(claims)}"
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_part(signature)}"

    def public(self) -> dict[str, str]:
        """The key as a provider publishes it (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": _part(_octets(numbers.n)),
            "e": _part(_octets(numbers.e)),
        }


def unsigned(claims: Mapping[str, object]) -> str:
    """A token that nobody signed (``alg`` none)."""
    return f"{_json_part({'alg': 'none', 'typ': 'JWT'})}.{_json_part(claims)}."


@dataclass
class Provider:
    """What the provider knows. All of it may be changed while it runs."""

    issuer: str
    users: dict[str, User] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    is_away: bool = False
    """Whether everybody is answered that nothing can be had now."""
    key: SigningKey = field(default_factory=lambda: SigningKey("first"))
    _codes: dict[str, _Grant] = field(default_factory=dict)
    _refresh_tokens: dict[str, _Grant] = field(default_factory=dict)

    def claims(self, user: str, client: str, **more: object) -> dict[str, object]:
        """What a token for a client says of a user; ``more`` goes first, and None takes a claim away."""
        now = int(time.time())
        known = self.users[user]
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": f"id-of-{user}",
            "aud": client,
            "iat": now,
            "exp": now + SECONDS_OF_A_TOKEN,
            "email": f"{user}@example.com",
            "email_verified": True,
            "preferred_username": user,
            "groups": list(known.groups),
        }
        return {
            name: value for name, value in {**claims, **known.claims, **more}.items() if value is not None
        }

    def token(self, user: str, client: str, **more: object) -> str:
        """A token for a client, as the provider hands it out."""
        return self.key.sign(self.claims(user, client, **more))

    def authorize(self, asked: Mapping[str, str], user: str) -> str:
        """Where a browser is sent with a code. Raises ValueError: the client must not be sent anybody."""
        client = self.clients.get(asked.get("client_id", ""))
        uri = asked.get("redirect_uri", "")
        if client is None or uri not in client.redirect_uris:
            raise ValueError(f"there is no client {asked.get('client_id')} with the redirect URI {uri}")
        if not client.secret and asked.get("code_challenge_method") != "S256":
            raise ValueError("a public client needs PKCE")
        known = self.users.get(user)
        if known is None or known.is_disabled:
            return f"{uri}?{urlencode({'error': 'access_denied', 'state': asked.get('state', '')})}"
        code = secrets.token_urlsafe(16)
        self._codes[code] = _Grant(
            user, asked["client_id"], uri, asked.get("code_challenge", ""), asked.get("nonce", "")
        )
        return f"{uri}?{urlencode({'code': code, 'state': asked.get('state', '')})}"

    def redeem(self, sent: Mapping[str, str]) -> tuple[int, dict[str, object]]:
        """The answer to a request for tokens: its status and body (RFC 6749, section 5)."""
        client = self.clients.get(sent.get("client_id", ""))
        if client is None or not secrets.compare_digest(client.secret, sent.get("client_secret", "")):
            return 401, {"error": "invalid_client"}
        if sent.get("grant_type") == "authorization_code":
            grant = self._codes.pop(sent.get("code", ""), None)
            is_right = grant is not None and grant.redirect_uri == sent.get("redirect_uri")
            if grant is None or not is_right or not _proves(sent.get("code_verifier", ""), grant.challenge):
                return 400, {"error": "invalid_grant"}
        else:
            grant = self._refresh_tokens.pop(sent.get("refresh_token", ""), None)
        if grant is None or grant.client != sent["client_id"] or self.users[grant.user].is_disabled:
            return 400, {"error": "invalid_grant"}
        return 200, self._tokens(grant)

    def _tokens(self, grant: _Grant) -> dict[str, object]:
        refresh_token = secrets.token_urlsafe(16)
        self._refresh_tokens[refresh_token] = grant
        return {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": SECONDS_OF_A_TOKEN,
            "refresh_token": refresh_token,
            "id_token": self.token(grant.user, grant.client, nonce=grant.nonce or None),
        }

    def discovery(self) -> dict[str, object]:
        """What the provider says of itself (OpenID Connect Discovery 1.0)."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self.provider.is_away:
            self._answer(503, {"error": "temporarily_unavailable"})
            return
        match url.path.removeprefix(urlsplit(self.provider.issuer).path):
            case "/.well-known/openid-configuration":
                self._answer(200, self.provider.discovery())
            case "/keys":
                self._answer(200, {"keys": [self.provider.key.public()]})
            case "/authorize":
                self._authorize({name: values[0] for name, values in parse_qs(url.query).items()})
            case _:
                self._answer(404, {"error": "not_found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        if self.provider.is_away:
            self._answer(503, {"error": "temporarily_unavailable"})
            return
        match self.path.removeprefix(urlsplit(self.provider.issuer).path).split("/"):
            case ["", "token"]:
                sent = {name: values[0] for name, values in parse_qs(body).items()}
                self._answer(*self.provider.redeem(sent | self._basic()))
            case ["", "test", "users", name]:
                self.provider.users[name] = User(**json.loads(body))
                self._answer(200, {})
            case ["", "test", "clients", name]:
                self.provider.clients[name] = Client(**json.loads(body))
                self._answer(200, {})
            case ["", "test", "token", user, client]:
                self._answer(200, {"token": self.provider.token(user, client, **json.loads(body or "{}"))})
            case _:
                self._answer(404, {"error": "not_found"})

    def _authorize(self, asked: dict[str, str]) -> None:
        """Whoever asks says who they are, by the cookie ``user``."""
        cookies = dict(one.strip().partition("=")[::2] for one in self.headers.get("Cookie", "").split(";"))
        try:
            place = self.provider.authorize(asked, cookies.get("user", ""))
        except ValueError as error:
            self._answer(400, {"error": "invalid_request", "error_description": str(error)})
            return
        self.send_response(302)
        self.send_header("Location", place)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _basic(self) -> dict[str, str]:
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return {}
        client, _, secret = base64.b64decode(text).decode().partition(":")
        return {
            name: parse_qs(f"x={value}").get("x", [""])[0]
            for name, value in {"client_id": client, "client_secret": secret}.items()
        }

    def _answer(self, status: int, body: Mapping[str, object]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def serve(provider: Provider, address: tuple[str, int]) -> ThreadingHTTPServer:
    """Answer requests in the background, until the server that is returned is shut down."""
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = _Server(address, handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _proves(verifier: str, challenge: str) -> bool:
    return not challenge or _part(hashlib.sha256(verifier.encode()).digest()) == challenge


def _json_part(value: Mapping[str, object]) -> str:
    return _part(json.dumps(value).encode())


def _part(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def main() -> None:
    """Serve until the process is ended."""
    port, issuer = int(sys.argv[1]), sys.argv[2]
    provider = Provider(issuer)
    if path := os.environ.get(WORLD_VARIABLE):
        with open(path) as file:  # noqa: PTH123
            world = json.load(file)
        provider.users |= {name: User(**one) for name, one in world["users"].items()}
        provider.clients |= {name: Client(**one) for name, one in world["clients"].items()}
    serve(provider, ("0.0.0.0", port))  # noqa: S104 - in a pod
    threading.Event().wait()


if __name__ == "__main__":
    main()
