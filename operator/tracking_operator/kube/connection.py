"""Where the API server is and who we are: one configuration for our client and for kopf's watches."""

import os
import ssl
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import (
    ConfigException,
    list_kube_config_contexts,
    load_incluster_config,
    load_kube_config,
)

USER_AGENT = "tracking-operator"
CONNECT_TIMEOUT_SECONDS = 10.0
REQUEST_TIMEOUT_SECONDS = 30.0
KEEPALIVE_SECONDS = 60.0
"""Kept for the next burst of work: a TLS handshake costs more than a request. The API server closes after 90 s."""

IMPERSONATE = "Impersonate-User"
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"


class NoClusterError(Exception):
    """Neither a service account nor a usable kubeconfig is there; the message says what to do."""


async def load_configuration(kubeconfig: Path | None = None, context: str | None = None) -> Configuration:
    """Read the credentials of the pod's service account, or of a kubeconfig outside a cluster.

    An explicit ``kubeconfig`` wins; else the service account; else ``$KUBECONFIG`` or ``~/.kube/config``, with its
    current context unless another ``context`` is given. Raises NoClusterError.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None and _IN_CLUSTER in os.environ and "KUBECONFIG" not in os.environ:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig) if kubeconfig else None,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
    except (ConfigException, OSError, TypeError) as error:
        raise _no_cluster(error) from error
    return configuration


def namespace_of_context(kubeconfig: Path | None = None, context: str | None = None) -> str:
    """The namespace that a context of the kubeconfig stands in, as kubectl reads it; ``default`` where it names none.

    Raises NoClusterError: there is no such kubeconfig.
    """
    try:
        contexts, current = list_kube_config_contexts(str(kubeconfig) if kubeconfig else None)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, TypeError) as error:
        raise _no_cluster(error) from error
    wanted = context or current["name"]
    found: dict[str, object] = next((one["context"] for one in contexts if one["name"] == wanted), {})
    return str(found.get("namespace") or "default")


def open_session(
    configuration: Configuration,
    *,
    middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
    response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse,
    impersonated: str = "",
) -> aiohttp.ClientSession:
    """Open an HTTP session that authenticates every request with the credentials valid at that moment.

    With ``impersonated`` the API server treats the requests as that user's, if the credentials may impersonate it.

    A service account's token is replaced on disk about every hour; a header that is set once per session
    would turn into 401 some time later.
    """

    async def authenticate(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = await configuration.get_api_key_with_prefix("BearerToken")
        if token:
            request.headers[aiohttp.hdrs.AUTHORIZATION] = token
        return await handler(request)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ssl=_tls_context(configuration)
        ),
        headers={aiohttp.hdrs.USER_AGENT: USER_AGENT} | ({IMPERSONATE: impersonated} if impersonated else {}),
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS),
        middlewares=(*middlewares, authenticate),
        response_class=response_class,
        proxy=configuration.proxy,
    )


def _no_cluster(error: Exception) -> NoClusterError:
    return NoClusterError(
        f"No Kubernetes cluster to talk to: {error}. Run inside a pod with a service account, "
        "or point KUBECONFIG at a kubeconfig file."
    )


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
