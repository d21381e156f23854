"""Runs in an init container, before the proxy that logs people in: can the identity provider be reached, and does it know this client?

    check-identity-provider --issuer https://idp.example.com/realms/ml --client-id mlflow.team-a.tracking --client-secret-file FILE

The proxy would end with the same trouble, and say so in its log only. Whether the client's secret is right a provider tells before it
looks at anything else that it is sent (RFC 6749, section 5.2: ``invalid_client``), so it is sent a code that nobody has.

It does not import mlflow, which would cost seconds at every start of a pod.
"""

import argparse
import json
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO

from tracking_operator.pod_tools.checks import CheckFailed, report, with_retries

DISCOVERY = "/.well-known/openid-configuration"
LONGEST_ANSWER = 2**20
SECONDS_TO_ANSWER = 10
SECONDS_OF_PATIENCE = 20.0
REFUSALS = ("invalid_client", "unauthorized_client")
UNREACHABLE = "IdentityProviderUnreachable"
CLIENT_REFUSED = "IdentityProviderRefusesClient"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Whom a secret is sent to is what the provider says of itself, and nobody else."""

    def redirect_request(self, *_: object) -> None:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Look at the provider that the command line names and report; return the exit code."""
    options = parse_arguments(arguments)
    try:
        with_retries(lambda: check(options), what="The identity provider", seconds=SECONDS_OF_PATIENCE)
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    return report("", f"The identity provider {options.issuer} knows the client {options.client_id}.")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--issuer", required=True, help="the provider, as it calls itself")
    parser.add_argument("--client-id", required=True, help="who the server is to it")
    parser.add_argument("--client-secret-file", required=True, type=Path, help="empty for a public client")
    parser.add_argument("--ca-file", type=Path, help="further CAs (PEM)")
    return parser.parse_args(arguments)


def check(options: argparse.Namespace) -> None:
    """Ask the provider who it is, and whether it knows the client.

    Raises:
        CheckFailed: it cannot be asked, is another one, or does not.

    """
    secret = options.client_secret_file.read_text()
    if secret != secret.strip():
        raise CheckFailed(
            CLIENT_REFUSED,
            "The Secret of the client has spaces or a line break around the secret, which the identity provider would refuse: write "
            "it without (kubectl create secret generic … --from-literal).",
        )
    client = opener(options.ca_file)
    issuer = options.issuer
    said = answer(client, urllib.request.Request(issuer.rstrip("/") + DISCOVERY), issuer)  # noqa: S310
    if said.get("issuer") != issuer:
        raise CheckFailed(
            UNREACHABLE,
            f"What answers at {issuer} calls itself {_quoted(said.get('issuer'))}: set access.authentication.oidc.issuer of the class "
            "to the name that the identity provider has for itself.",
        )
    endpoint = said.get("token_endpoint")
    schemes = {"https", urllib.parse.urlsplit(issuer).scheme}
    if not isinstance(endpoint, str) or urllib.parse.urlsplit(endpoint).scheme not in schemes:
        # Whoever is asked by https sends no secret in the clear.
        raise CheckFailed(UNREACHABLE, f"The identity provider {issuer} names no token_endpoint with https.")
    refusals = [
        answer(client, request, issuer).get("error")
        for request in codes_of_nobody(endpoint, options.client_id, secret)
    ]
    if all(one in REFUSALS for one in refusals):
        raise CheckFailed(
            CLIENT_REFUSED,
            f"The identity provider {issuer} does not take the client {options.client_id} with "
            f"{'its secret' if secret else 'no secret'} ({refusals[0]}): register the client there, or correct its Secret.",
        )


def codes_of_nobody(endpoint: str, client_id: str, secret: str) -> list[urllib.request.Request]:
    """Requests for tokens with a code that the provider never gave, one for each way to send a secret: a client may have one only."""
    body = {"grant_type": "authorization_code", "code": "none", "redirect_uri": "none"}
    in_body = _form(endpoint, body | {"client_id": client_id} | ({"client_secret": secret} if secret else {}))
    if not secret:
        return [in_body]
    in_header = _form(endpoint, body)
    named = f"{urllib.parse.quote(client_id, safe='')}:{urllib.parse.quote(secret, safe='')}"
    in_header.add_header("Authorization", f"Basic {b64encode(named.encode()).decode()}")
    return [in_header, in_body]


def _form(endpoint: str, fields: Mapping[str, str]) -> urllib.request.Request:
    return urllib.request.Request(  # noqa: S310 - the provider's own URL
        endpoint,
        urllib.parse.urlencode(fields).encode(),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )


def opener(ca_file: Path | None) -> urllib.request.OpenerDirector:
    """What asks: with the CAs of the image, and further ones."""
    try:
        context = ssl.create_default_context()
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise CheckFailed(
            UNREACHABLE,
            f"The CA of the identity provider cannot be read: {error}. Correct the ConfigMap that caBundleRef of the class names.",
        ) from error
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect())


def answer(
    client: urllib.request.OpenerDirector, request: urllib.request.Request, issuer: str
) -> Mapping[str, object]:
    """What the provider answers, good or bad, as the JSON that it has to be; empty if it is none.

    Raises:
        CheckFailed: nobody answers.

    """
    try:
        try:
            with client.open(request, timeout=SECONDS_TO_ANSWER) as response:
                return _parsed(response)
        except urllib.error.HTTPError as error:
            with error:
                return _parsed(error)
    except (OSError, HTTPException) as error:
        raise CheckFailed(UNREACHABLE, _why(error, issuer)) from error


def _parsed(response: "IO[bytes]") -> Mapping[str, object]:
    try:
        found = json.loads(response.read(LONGEST_ANSWER))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _why(error: OSError | HTTPException, issuer: str) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return f"The host of the identity provider {issuer} does not resolve: correct issuer in the class, or the DNS."
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"The certificate of the identity provider {issuer} does not verify ({reason.verify_message}): name its CA in caBundleRef "
            "of the class."
        )
    return f"The identity provider {issuer} does not answer ({reason}): the operator goes on trying."


def _quoted(name: object) -> str:
    return repr(name)[:200] if name is not None else "nothing"
