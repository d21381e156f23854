"""The matrix's attempts on a bucket, made with the keys of one of two provisioned servers: each is denied."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.s3.world import World, desired, tenant
from tracking_operator.isolation.attempts import Row
from tracking_operator.isolation.in_pod import buckets
from tracking_operator.isolation.in_pod.__main__ import seen_of
from tracking_operator.isolation.in_pod.scene import Scene, Side
from tracking_operator.stores.s3.tenant import Tenant


@pytest.fixture
def scene(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """The attacker's keys are in a file; the other team has an object."""
    own, other = (tenant(world.name, team) for team in ("team-a", "team-b"))
    keys = world.provision(desired(own)).keys
    world.provision(desired(other))
    assert keys is not None
    file = tmp_path / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id={keys.access_key_id}\naws_secret_access_key={keys.secret_access_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", world.running.endpoint)
    found = Scene(side(own), side(other))
    world.put(buckets.key(found.other, found))
    for cached in (buckets.client, buckets.anonymous):
        cached.cache_clear()
    yield found
    for cached in (buckets.client, buckets.anonymous):
        cached.cache_clear()


def side(of: Tenant) -> Side:
    return Side(of.mark.namespace, "mlflow", bucket=of.bucket, prefix=of.prefix)


def rows(scene: Scene) -> Iterator[Row]:
    for attempt, act in buckets.BOOK.acts.values():
        yield Row(attempt, seen_of(attempt, act, scene))


def test_every_attempt_on_a_bucket_ends_as_the_matrix_expects(scene: Scene) -> None:
    assert {row.attempt.id: row.seen for row in rows(scene) if not row.is_as_expected} == {}


def test_a_bucket_that_is_open_is_seen(world: World, scene: Scene) -> None:
    arn = f"arn:aws:s3:::{world.name}"
    everybody = f'{{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["{arn}","{arn}/*"]}}'
    world.s3.put_bucket_policy(
        Bucket=world.name, Policy=f'{{"Version":"2012-10-17","Statement":[{everybody}]}}'
    )
    found = {row.attempt.id for row in rows(scene) if not row.is_as_expected}
    assert {"buckets/get", "buckets/list-root", "buckets/anonymous-get", "buckets/get-mark"} <= found
