"""Secrets that a team names: found or missed with a sentence, remembered as salted digests only."""

import base64
from collections import defaultdict
from dataclasses import replace

import pytest

from tests.certificates import Authority
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import EXTERNAL_BUCKET, EXTERNAL_DATABASE, Manifest, model, secret
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.server.children.mounted_secrets import Credentials, SecretsMemory
from tracking_operator.failures import Unavailable, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.errors import ApiError
from tracking_operator.resources.destinations import Endpoint
from tracking_operator.resources.server_model import ServerModel

PASSWORD_URI = "postgresql+psycopg2://mlflow:hunter2@db/mlflow"
SERVER = model({"backendStore": EXTERNAL_DATABASE})
BOTH = model({"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET})

WITH_CERTIFICATES = model(
    {
        "backendStore": {
            "external": {
                **EXTERNAL_DATABASE["external"],
                "caConfigMapRef": {"name": "company-ca"},
                "clientCertificateSecretRef": {"name": "mlflow-db-certificate"},
            }
        }
    }
)
CA, (CERTIFICATE, KEY) = (authority := Authority.new()).certificate, authority.issue("mlflow")


class World:
    """An API with Secrets, a cache with the watched ones, and the memory of digests between them."""

    def __init__(self, *secrets: Manifest) -> None:
        self.api = MemoryApi()
        for one in secrets:
            self.api.store(one)
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.credentials = Credentials(self.api.as_client(), self.cache)
        self.memories = defaultdict[str, SecretsMemory](SecretsMemory)

    async def digest(self, server: ServerModel = SERVER, *, fresh: bool = False) -> str:
        if fresh:
            self.memories[server.uid].invalidate()
        found, problems = await self.credentials.digest(server, self.memories[server.uid])
        assert problems == []
        return found

    async def problems(self, server: ServerModel = SERVER) -> list[tuple[ConditionType, Reason, str]]:
        _, problems = await self.credentials.digest(server, self.memories[server.uid])
        assert all(isinstance(failure, Waiting) and failure.retry_after for _, failure in problems)
        return [(type_, failure.reason, failure.message) for type_, failure in problems]


async def test_a_server_without_secrets_has_no_digest_and_costs_no_call() -> None:
    world = World()
    assert await world.digest(model()) == ""
    assert world.api.calls == []


async def test_a_digest_changes_exactly_when_what_is_mounted_does() -> None:
    world = World(secret("mlflow-db", uri=PASSWORD_URI))
    before = await world.digest()
    world.api.store(secret("mlflow-db", uri=PASSWORD_URI, other="not mounted"))
    assert await world.digest(fresh=True) == before
    world.api.store(secret("mlflow-db", uri=PASSWORD_URI + "2"))
    assert await world.digest(fresh=True) != before


async def test_of_a_secret_without_a_named_key_every_key_counts() -> None:
    bucket = model({"artifactStore": EXTERNAL_BUCKET})
    world = World(secret("mlflow-bucket", accessKeyId="a", secretAccessKey="b"))
    before = await world.digest(bucket)
    world.api.store(secret("mlflow-bucket", accessKeyId="ab", secretAccessKey=""))
    assert await world.digest(bucket, fresh=True) != before


async def test_an_unwatched_secret_is_read_once_and_again_at_a_resync() -> None:
    world = World(secret("mlflow-db", uri=PASSWORD_URI))
    await world.digest()
    await world.digest()
    assert world.api.calls == ["get Secret"]
    await world.digest(fresh=True)
    assert world.api.calls == ["get Secret"] * 2


async def test_a_watched_secret_is_never_read_and_changes_at_once() -> None:
    world = World()
    watched = secret("mlflow-db", uri=PASSWORD_URI)
    world.cache.upsert(watched | {"metadata": watched["metadata"] | {"resourceVersion": "1"}})
    before = await world.digest()
    changed = secret("mlflow-db", uri="sqlite:///other")
    world.cache.upsert(changed | {"metadata": changed["metadata"] | {"resourceVersion": "2"}})
    assert await world.digest() != before
    assert world.api.calls == []


async def test_a_label_that_has_a_secret_watched_changes_no_digest_and_rolls_nobody() -> None:
    world = World(secret("mlflow-db", uri=PASSWORD_URI))
    read = await world.digest()
    watched = secret("mlflow-db", uri=PASSWORD_URI)
    world.cache.upsert(watched | {"metadata": watched["metadata"] | {"resourceVersion": "1"}})
    assert await world.digest() == read


async def test_two_servers_with_one_secret_have_different_digests_in_any_order() -> None:
    one, two = SERVER, replace(SERVER, name="second", uid="another-uid")
    world = World(secret("mlflow-db", uri=PASSWORD_URI))
    first, second = await world.digest(one), await world.digest(two)
    assert first != second
    # A resync of the one must not roll the pods of the other.
    assert await world.digest(two, fresh=True) == second
    assert await world.digest(one) == first


async def test_a_restart_of_the_operator_changes_no_digest() -> None:
    stored = secret("mlflow-db", uri=PASSWORD_URI)
    assert await World(stored).digest() == await World(stored).digest()


async def test_no_content_stays_in_memory() -> None:
    world = World(secret("mlflow-db", uri=PASSWORD_URI))
    await world.digest()
    assert "hunter2" not in repr((vars(world.credentials), world.memories))
    assert base64.b64encode(PASSWORD_URI.encode()).decode() not in repr(
        (vars(world.credentials), world.memories)
    )


async def test_a_digest_reveals_neither_content_nor_length() -> None:
    digests = [await World(secret("mlflow-db", uri=uri)).digest() for uri in ("a", PASSWORD_URI * 50)]
    assert [len(digest) for digest in digests] == [16, 16]


async def test_a_missing_secret_is_named_with_its_field() -> None:
    assert await World().problems() == [
        (
            ConditionType.BACKEND_STORE_READY,
            Reason.SECRET_NOT_FOUND,
            "There is no Secret 'mlflow-db' in namespace 'team-a', which spec.backendStore.external.uriSecretRef "
            "names: create it, or name another. Label it tracking-operator.dev/watch=true, and each change of it is seen at "
            "once.",
        )
    ]


@pytest.mark.parametrize("content", [{}, {"other": "x"}, {"uri": ""}, {"uri": "  \n"}])
async def test_a_key_with_nothing_in_it_is_named(content: dict[str, str]) -> None:
    ((type_, reason, message),) = await World(secret("mlflow-db", **content)).problems()
    assert (type_, reason) == (ConditionType.BACKEND_STORE_READY, Reason.SECRET_KEY_MISSING)
    assert "has nothing under the key 'uri'" in message


async def test_everything_that_is_missing_is_said_at_once() -> None:
    assert [type_ for type_, _, _ in await World().problems(BOTH)] == [
        ConditionType.BACKEND_STORE_READY,
        ConditionType.ARTIFACT_STORE_READY,
    ]


async def test_a_secret_that_appears_is_found_without_a_resync() -> None:
    world = World()
    await world.problems()
    world.api.store(secret("mlflow-db", uri=PASSWORD_URI))
    assert await world.digest()


async def test_an_api_server_that_refuses_is_no_missing_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def refuse(*_: object) -> None:
        raise ApiError(403, "Forbidden", 'secrets "mlflow-db" is forbidden: User "x" cannot get resource')

    monkeypatch.setattr(world.api, "get", refuse)
    _, ((type_, failure),) = await world.credentials.digest(SERVER, SecretsMemory())
    assert type_ is ConditionType.BACKEND_STORE_READY
    assert isinstance(failure, Unavailable)
    assert "read Secret team-a/mlflow-db" in failure.message


def config_map(name: str, **content: str) -> Manifest:
    """A ConfigMap of a team."""
    metadata = {"name": name, "namespace": "team-a"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": content}


class TestCertificates:
    """What a team names beside the URI of its database."""

    URI = secret("mlflow-db", uri=PASSWORD_URI)
    CERTIFICATE = secret("mlflow-db-certificate", **{"tls.crt": CERTIFICATE, "tls.key": KEY})
    CA_MAP = config_map(
        "company-ca", **{"ca.crt": f"# Größter Aussteller\n{CA}{Authority.new().certificate}"}
    )

    async def test_that_are_there_count_for_the_digest(self) -> None:
        world = World(self.URI, self.CERTIFICATE, self.CA_MAP)
        before = await world.digest(WITH_CERTIFICATES)
        world.api.store(config_map("company-ca", **{"ca.crt": CA}))
        rotated = await world.digest(WITH_CERTIFICATES, fresh=True)
        world.api.store(secret("mlflow-db-certificate", **{"tls.crt": CA, "tls.key": KEY}))
        assert len({before, rotated, await world.digest(WITH_CERTIFICATES, fresh=True)}) == 3

    async def test_leave_the_place_of_the_database_as_its_uri_says(self) -> None:
        world = World(self.URI, self.CERTIFICATE, self.CA_MAP)
        await world.digest(WITH_CERTIFICATES)
        found = world.credentials.endpoints(WITH_CERTIFICATES, world.memories[WITH_CERTIFICATES.uid])
        assert found == {ConditionType.BACKEND_STORE_READY: (Endpoint("db", 5432),)}

    async def test_a_missing_config_map_is_named_with_its_field(self) -> None:
        ((type_, reason, message),) = await World(self.URI, self.CERTIFICATE).problems(WITH_CERTIFICATES)
        assert (type_, reason) == (ConditionType.BACKEND_STORE_READY, Reason.SECRET_NOT_FOUND)
        assert message == (
            "There is no ConfigMap 'company-ca' in namespace 'team-a', which "
            "spec.backendStore.external.caConfigMapRef names: create it, or name another."
        )

    async def test_a_config_map_without_the_key_is_named(self) -> None:
        world = World(self.URI, self.CERTIFICATE, config_map("company-ca", **{"ca.pem": CA}))
        ((_, reason, message),) = await world.problems(WITH_CERTIFICATES)
        assert reason is Reason.SECRET_KEY_MISSING
        assert "ConfigMap 'company-ca'" in message
        assert "nothing under the key 'ca.crt'" in message

    @pytest.mark.parametrize(
        "text",
        [
            "just any text",
            "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----",
            CA.replace("-----END", "---END"),
            KEY,
        ],
    )
    async def test_what_is_no_certificate_is_named_and_not_repeated(self, text: str) -> None:
        world = World(self.URI, self.CERTIFICATE, config_map("company-ca", **{"ca.crt": text}))
        ((type_, reason, message),) = await world.problems(WITH_CERTIFICATES)
        assert (type_, reason) == (ConditionType.BACKEND_STORE_READY, Reason.TLS_FAILED)
        assert "has no certificates that can be read under the key 'ca.crt': write them in PEM" in message
        assert text not in message

    async def test_a_certificate_without_its_key_is_named(self) -> None:
        world = World(self.URI, self.CA_MAP, secret("mlflow-db-certificate", **{"tls.crt": CERTIFICATE}))
        ((_, reason, message),) = await world.problems(WITH_CERTIFICATES)
        assert reason is Reason.SECRET_KEY_MISSING
        assert "clientCertificateSecretRef names, has nothing under the key 'tls.key'" in message
