"""The end of a server's artifacts, on a real versitygw: all that is under the prefix, whatever happens, and nothing else."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dev.object_store.admin_api import User
from dev.versitygw import VersitygwServer
from tests.pod_programs import DELETE_ARTIFACTS
from tests.stores.artifact_world import (
    OBJECTS,
    PREFIX,
    Answer,
    World,
    new_world,
    run_program,
    running_store,
    start_program,
)

NEIGHBOURS = (
    f"{PREFIX}-secret/model.pkl",
    f"{PREFIX}2/model.pkl",
    "team-a/other/model.pkl",
    "team-b/mlflow/model.pkl",
    f".tracking-operator/prefixes/{PREFIX}/owner.json",
)
MANY = 2500


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "versioned"])
def server(request: pytest.FixtureRequest) -> Iterator[VersitygwServer]:
    with running_store(has_versioning=request.param) as running:
        yield running


@pytest.fixture
def world(server: VersitygwServer, request: pytest.FixtureRequest) -> World:
    """A bucket with artifacts of other servers in it."""
    world = new_world(server, has_versioning="versioned" in request.node.name)
    world.put(*NEIGHBOURS)
    return world


def tenant(world: World) -> User:
    """A user who may do everything under the prefix and nothing else."""
    user = world.user()
    world.allow(*world.statements(user))
    return user


def delete(world: World, user: User, folder: Path, prefix: str = PREFIX, **environment: str) -> Answer:
    """Run the script as the Job does."""
    place = [f"--bucket={world.bucket}", f"--prefix={prefix}"]
    return run_program(
        DELETE_ARTIFACTS, *place, folder=folder, environment=world.environment(user, **environment)
    )


def fill(world: World, count: int) -> None:
    """Write objects under the prefix; each tenth twice, so that there are versions where these are kept."""
    keys = [f"{PREFIX}/1/run-{number % 50}/artifacts/part-{number}" for number in range(count)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(world.put, [*keys, *keys[::10]]))


def test_everything_under_the_prefix_goes_and_the_neighbours_stay(world: World, tmp_path: Path) -> None:
    world.put(f"{PREFIX}/a", f"{PREFIX}/b/c d/ü+&%.txt", f"{PREFIX}/.hidden", f"{PREFIX}/a")
    answer = delete(world, tenant(world), tmp_path)
    assert (answer.exit_code, answer.reason) == (0, ""), answer.output
    assert world.keys() == set(NEIGHBOURS)
    assert world.versions(f"{PREFIX}/") == 0
    assert all(world.versions(neighbour) == 1 for neighbour in NEIGHBOURS)


def test_keys_that_xml_carries_badly_keep_nothing(world: World, tmp_path: Path) -> None:
    # versitygw lists worse ones under another name: tests/unit/test_object_removal.py has these.
    world.put(f"{PREFIX}/a", f"{PREFIX}/return\r", f"{PREFIX}/new\nline\t<&>")
    answer = delete(world, tenant(world), tmp_path)
    assert (answer.exit_code, answer.reason) == (0, ""), answer.output
    assert world.versions(f"{PREFIX}/") == 0
    assert world.keys() == set(NEIGHBOURS)


def test_thousands_of_objects_go_although_the_first_run_is_killed_in_the_middle(
    world: World, tmp_path: Path
) -> None:
    fill(world, MANY)
    user = tenant(world)
    first = start_program(
        DELETE_ARTIFACTS,
        f"--bucket={world.bucket}",
        f"--prefix={PREFIX}",
        folder=tmp_path,
        environment=world.environment(user),
    )
    assert first.stdout is not None
    assert "1000 objects and versions removed" in first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    left = world.versions(f"{PREFIX}/")
    assert left > 0

    answer = delete(world, user, tmp_path)
    assert (answer.exit_code, answer.reason) == (0, ""), answer.output
    assert world.versions(f"{PREFIX}/") == 0
    assert world.keys() == set(NEIGHBOURS)


def test_a_prefix_with_nothing_in_it_is_done_and_can_be_done_again(world: World, tmp_path: Path) -> None:
    user = tenant(world)
    for _ in range(2):
        answer = delete(world, user, tmp_path)
        assert (answer.exit_code, answer.reason) == (0, ""), answer.output
    assert world.keys() == set(NEIGHBOURS)


def test_unfinished_uploads_end_where_they_may_be_listed(world: World, tmp_path: Path) -> None:
    user = world.user()
    listing: dict[str, object] = {
        "Effect": "Allow",
        "Principal": {"AWS": [user.access_key_id]},
        "Action": ["s3:ListBucketMultipartUploads"],
        "Resource": f"arn:aws:s3:::{world.bucket}",
    }
    world.allow(*world.statements(user), listing)
    for key in (f"{PREFIX}/big", f"{PREFIX}-secret/big"):
        world.client.create_multipart_upload(Bucket=world.bucket, Key=key)
    answer = delete(world, user, tmp_path)
    assert answer.exit_code == 0, answer.output
    uploads = world.client.list_multipart_uploads(Bucket=world.bucket).get("Uploads", [])
    assert [one["Key"] for one in uploads] == [f"{PREFIX}-secret/big"]


def test_uploads_that_may_not_be_listed_are_left_and_that_is_said(world: World, tmp_path: Path) -> None:
    world.client.create_multipart_upload(Bucket=world.bucket, Key=f"{PREFIX}/big")
    answer = delete(world, tenant(world), tmp_path)
    assert answer.exit_code == 0, answer.output
    assert "left to the bucket's lifecycle" in answer.output


def test_an_identity_that_may_not_list_versions_removes_the_objects_and_says_so(
    world: World, tmp_path: Path
) -> None:
    world.put(f"{PREFIX}/a", f"{PREFIX}/b")
    user = world.user()
    listing, objects = world.statements(user)
    listing["Action"] = ["s3:ListBucket"]
    world.allow(listing, objects)
    answer = delete(world, user, tmp_path)
    assert answer.exit_code == 0, answer.output
    assert "Versions could not be listed" in answer.message
    assert world.keys() == set(NEIGHBOURS)


def test_objects_that_may_not_be_removed_are_named_and_stay(world: World, tmp_path: Path) -> None:
    world.put(f"{PREFIX}/a", f"{PREFIX}/b")
    user = world.user()
    world.allow(*world.statements(user, actions=[one for one in OBJECTS if "Delete" not in one]))
    answer = delete(world, user, tmp_path)
    assert (answer.exit_code, answer.reason) == (40, "AccessDenied"), answer
    assert {f"{PREFIX}/a", f"{PREFIX}/b"} <= world.keys()


@pytest.mark.parametrize(
    "prefix", ["", "/", "team-a/", "/team-a", "..", "team-a//mlflow", "team-a/../team-b", "."]
)
def test_what_is_no_prefix_is_refused_and_nothing_is_removed(
    world: World, tmp_path: Path, prefix: str
) -> None:
    user = world.user()
    world.allow(*world.everything(user))
    answer = delete(world, user, tmp_path, prefix)
    assert (answer.exit_code, answer.reason) == (27, "UnsupportedUri"), answer
    assert world.keys() == set(NEIGHBOURS)


def test_a_bucket_that_is_gone_is_named(world: World, tmp_path: Path) -> None:
    user = tenant(world)
    place = ["--bucket=no-such-bucket", f"--prefix={PREFIX}"]
    answer = run_program(DELETE_ARTIFACTS, *place, folder=tmp_path, environment=world.environment(user))
    assert (answer.exit_code, answer.reason) == (42, "BucketNotFound"), answer
