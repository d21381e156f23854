"""The Secrets, and ConfigMaps with CAs, that a team names: are they there, and did their content change?

Only digests are kept in memory, salted with the server's UID, so that nobody can compare two servers' or
guess a weak password from the annotation that a digest ends up in.
"""

import base64
import hashlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import WATCH_LABEL
from tracking_operator.controllers.server.children.certificates import holds_certificates
from tracking_operator.failures import SECRET_RETRY_SECONDS, Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import CONFIG_MAP, SECRET, Kind, KubeObject, resource_version_of
from tracking_operator.resources.destinations import Endpoint
from tracking_operator.resources.pod.login_proxy import CA, PROXY_PASSWORD, PROXY_SETTINGS
from tracking_operator.resources.pod.server_pod import CREDENTIALS_DIGEST_ANNOTATION
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.endpoints_in_text import (
    endpoints_in_database_uri,
    endpoints_in_variables,
)

DIGEST_LENGTH: Final = 16

SEEN_AT_ONCE: Final = f"Label it {WATCH_LABEL}=true, and each change of it is seen at once."


@dataclass(frozen=True)
class Reference:
    """A Secret or ConfigMap that a server's pods read when they start; without a ``key`` all of it."""

    namespace: str
    name: str
    key: str | None
    """What counts of it; None: all that it holds."""
    field: str
    """What names it; empty for one that the operator writes itself."""
    condition: ConditionType
    required: tuple[str, ...] = ()
    """The keys without which it is of no use."""
    names_endpoints: bool = False
    """Whether it says where the store is."""
    is_config_map: bool = False
    certificates: tuple[str, ...] = ()
    """Those of the keys that have to hold certificates in PEM."""

    @property
    def kind(self) -> Kind:
        """What it is."""
        return CONFIG_MAP if self.is_config_map else SECRET

    @property
    def hint(self) -> str:
        """How its changes are seen at once. Only Secrets are watched by a label."""
        return "" if self.is_config_map else f" {SEEN_AT_ONCE}"


@dataclass(frozen=True)
class _Content:
    """What is remembered of a Secret: whether it changes, and where it leads. No secret is among that."""

    digest: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True)
class _Read:
    """What was read of a Secret, and which version of it."""

    content: _Content
    version: int


@dataclass
class SecretsMemory:
    """What is remembered of the Secrets that one server names and that no watch tells of."""

    read: dict[Reference, _Read] = field(default_factory=dict)

    def invalidate(self) -> None:
        """Have them read again."""
        self.read.clear()

    def invalidate_for(self, conditions: Collection[ConditionType]) -> None:
        """Have those read again that may be why one of these conditions does not hold."""
        for reference in [one for one in self.read if one.condition in conditions]:
            del self.read[reference]

    def hints(self, conditions: Collection[ConditionType]) -> dict[ConditionType, str]:
        """What to say of them beside a condition that does not hold."""
        return {
            one.condition: f"A correction of {one.kind} {one.name!r} is seen within seconds.{one.hint}"
            for one in self.read
            if one.field and one.condition in conditions
        }


CredentialProblem = tuple[ConditionType, Failure]
"""The condition that suffers, and why."""


def _references_of_login(server: ServerModel) -> Iterator[Reference]:
    """What the proxy reads when it starts, if there is one: the client's secret, and what MLflow has in common with it."""
    sign_on, type_ = server.single_sign_on, ConditionType.EXPOSED
    if sign_on is None:
        return
    if sign_on.client_secret:
        name, key = sign_on.client_secret.name, sign_on.client_secret.key
        field = "access.authentication.oidc.clientSecretRef of the class"
        yield Reference(server.namespace, name, key, field, type_, required=(key,))
    for key in (PROXY_PASSWORD, PROXY_SETTINGS, *([CA] if sign_on.ca_config_map else [])):
        yield Reference(server.namespace, server.names.oidc, key, "", type_, required=(key,))


def references_of(server: ServerModel) -> Iterator[Reference]:
    """Every Secret that the server's specification or class names, or that the operator writes and pods are rolled for."""
    of_stores = (
        (server.backend_store, ConditionType.BACKEND_STORE_READY),
        (server.artifact_store, ConditionType.ARTIFACT_STORE_READY),
    )
    for store, condition in of_stores:
        for one in store.secrets():
            yield Reference(
                server.namespace,
                one.name,
                one.key,
                one.field,
                condition,
                required=one.required,
                names_endpoints=one.names_endpoints,
                is_config_map=one.is_config_map,
                certificates=one.certificates,
            )
    yield from _references_of_login(server)


class Credentials:
    """Digests of the referenced Secrets.

    A Secret that carries the watch label is in the cache, and read again when it has changed if its texts are too
    long to be kept there. Others are read once, and again at each resync.
    """

    def __init__(self, kube: KubeClient, cache: ObjectCache) -> None:
        self._kube = kube
        self._cache = cache

    async def digest(
        self, server: ServerModel, memory: SecretsMemory, *, revocation: str = ""
    ) -> tuple[str, list[CredentialProblem]]:
        """A digest of all that the server's pods mount (empty if they mount no Secret), and what is missing.

        ``revocation`` is what pods are made anew for although they may mount the same Secrets; empty: nothing.
        """
        digests, problems = [], []
        for reference in references_of(server):
            try:
                digests.append((await self._content_of(reference, server.uid, memory)).digest)
            except Failure as failure:
                problems.append((reference.condition, failure))
        if revocation:
            digests.append(_sha256("revoked", revocation))
        return (_sha256(*digests) if digests else ""), problems

    def endpoints(
        self, server: ServerModel, memory: SecretsMemory
    ) -> dict[ConditionType, tuple[Endpoint, ...]]:
        """Where the Secrets say that external stores are, as the last digest found it: by the condition of the store."""
        found = {}
        for reference in references_of(server):
            if not reference.names_endpoints:
                continue
            with suppress(Failure):
                watched = self._cache.whole(reference.kind, reference.namespace, reference.name)
                known = memory.read.get(reference)
                if watched is not None:
                    found[reference.condition] = _content(watched, reference, server.uid).endpoints
                elif known is not None:
                    found[reference.condition] = known.content.endpoints
        return found

    async def _content_of(self, reference: Reference, salt: str, memory: SecretsMemory) -> _Content:
        watched = self._cache.whole(reference.kind, reference.namespace, reference.name)
        if watched is not None:
            return _content(watched, reference, salt)
        shortened = self._cache.get(reference.kind, reference.namespace, reference.name)
        version = resource_version_of(shortened) if shortened else 0
        known = memory.read.get(reference)
        # What the operator writes itself may have changed since, also where a crowded namespace keeps it from the cache.
        if known is None or known.version < version or not reference.field:
            memory.read.pop(reference, None)
            secret = await self._get(reference)
            if secret is None:
                raise _missing(reference)
            known = _Read(_content(secret, reference, salt), resource_version_of(secret))
            memory.read[reference] = known
        return known.content

    async def _get(self, reference: Reference) -> KubeObject | None:
        try:
            return await self._kube.get(reference.kind, reference.namespace, reference.name)
        except ApiError as error:
            raise failure_from(
                error, f"read {reference.kind} {reference.namespace}/{reference.name}"
            ) from error


def deployed_digest(deployment: KubeObject | None) -> str:
    """The digest that the running pods were made with; empty where there is none."""
    template = ((deployment or {}).get("spec") or {}).get("template") or {}
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(CREDENTIALS_DIGEST_ANNOTATION, ""))


def _content(secret: KubeObject, reference: Reference, salt: str) -> _Content:
    texts = _texts(secret, reference)
    _require_usable(texts, reference)
    return _Content(_content_digest(secret, reference, salt), _endpoints_in(texts, reference))


def _texts(secret: KubeObject, reference: Reference) -> dict[str, str]:
    """What it holds, as text."""
    data: dict[str, str] = secret.get("data") or {}
    if reference.is_config_map:
        return data
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}


def _endpoints_in(data: dict[str, str], reference: Reference) -> tuple[Endpoint, ...]:
    if not reference.names_endpoints:
        return ()
    if reference.key is not None:
        return endpoints_in_database_uri(data[reference.key])
    return endpoints_in_variables(data)


def _require_usable(texts: dict[str, str], reference: Reference) -> None:
    """Every key is there, and what has to be a certificate is one."""
    which = f"{reference.kind} {reference.name!r}, which {reference.field} names,"
    for key in reference.required:
        if not texts.get(key, "").strip():
            raise Waiting(
                Reason.SECRET_KEY_MISSING,
                f"{which} has nothing under the key {key!r}: add it, or name another.{reference.hint}",
                retry_after=SECRET_RETRY_SECONDS,
            )
    for key in reference.certificates:
        if not holds_certificates(texts[key]):
            raise Waiting(
                Reason.TLS_FAILED,
                f"{which} has no certificates that can be read under the key {key!r}: write them in PEM, from "
                f"-----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, or name another.{reference.hint}",
                retry_after=SECRET_RETRY_SECONDS,
            )


def _content_digest(secret: KubeObject, reference: Reference, salt: str) -> str:
    data: dict[str, str] = secret.get("data") or {}
    if reference.key is not None:
        return _sha256(salt, data[reference.key])
    return _sha256(salt, *(part for item in sorted(data.items()) for part in item))


def _missing(reference: Reference) -> Waiting:
    if not reference.field:
        return Waiting(Reason.PENDING, f"Waits for Secret {reference.name!r}, which the operator writes.")
    return Waiting(
        Reason.SECRET_NOT_FOUND,
        f"There is no {reference.kind} {reference.name!r} in namespace {reference.namespace!r}, which "
        f"{reference.field} names: create it, or name another.{reference.hint}",
        retry_after=SECRET_RETRY_SECONDS,
    )


def _sha256(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()[:DIGEST_LENGTH]
