"""The check of a server's own prefix, on a real versitygw: what is open, what is shut, and what is said about it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.loopback import free_port
from dev.object_store.admin_api import User
from dev.versitygw import VersitygwServer
from tests.pod_programs import CHECK_ARTIFACTS
from tests.stores.artifact_world import (
    OBJECTS,
    PREFIX,
    Answer,
    World,
    answer_of,
    new_world,
    run_program,
    running_store,
    start_program,
)
from tests.waiting import patient


@pytest.fixture(scope="module")
def server() -> Iterator[VersitygwServer]:
    with running_store() as running:
        yield running


@pytest.fixture
def world(server: VersitygwServer) -> World:
    """A bucket with a mark of ours and a neighbour whose name begins like ours."""
    world = new_world(server)
    world.mark()
    world.put(f"{PREFIX}-secret/model.pkl", "team-b/mlflow/model.pkl")
    return world


def check(world: World, user: User, folder: Path, *more: str, **environment: str) -> Answer:
    """Run the check as the Job does."""
    return run_program(
        CHECK_ARTIFACTS,
        "s3",
        f"--bucket={environment.pop('bucket', world.bucket)}",
        f"--prefix={PREFIX}",
        *more,
        folder=folder,
        environment=world.environment(user, **environment),
    )


class TestIsolation:
    def test_a_prefix_that_is_open_inside_and_shut_outside_is_well_and_nothing_is_left_behind(
        self, world: World, tmp_path: Path
    ) -> None:
        user = world.user()
        world.allow(*world.statements(user))
        before = world.keys()
        answer = check(world, user, tmp_path)
        assert (answer.exit_code, answer.reason) == (0, ""), answer
        assert world.keys() == before
        assert answer.output.count("Denied, as it should be") == 7

    def test_a_policy_whose_star_takes_in_the_neighbours_is_found_out(
        self, world: World, tmp_path: Path
    ) -> None:
        user = world.user()
        listing, objects = world.statements(user)
        objects["Resource"] = f"arn:aws:s3:::{world.bucket}/{PREFIX}*"
        world.allow(listing, objects)
        before = world.keys()
        answer = check(world, user, tmp_path)
        assert (answer.exit_code, answer.reason) == (41, "IsolationNotProved"), answer
        for what in ("put", "get", "delete"):
            assert f"to {what} {PREFIX}-tracking-operator-check/" in answer.message
        assert "list" not in answer.message
        assert world.keys() == before

    def test_a_listing_that_shows_the_names_of_neighbours_is_found_out(
        self, world: World, tmp_path: Path
    ) -> None:
        user = world.user()
        world.allow(*world.statements(user, listing="{}*"))
        answer = check(world, user, tmp_path)
        assert answer.reason == "IsolationNotProved", answer
        assert f"list all that begins with {PREFIX}" in answer.message
        assert "list the whole bucket" not in answer.message

    def test_a_right_to_read_that_hides_behind_missing_keys_is_found_out_by_the_mark(
        self, world: World, tmp_path: Path
    ) -> None:
        user = world.user()
        reading: dict[str, object] = {
            "Effect": "Allow",
            "Principal": {"AWS": [user.access_key_id]},
            "Action": ["s3:GetObject"],
            "Resource": f"arn:aws:s3:::{world.bucket}/.tracking-operator/*",
        }
        world.allow(*world.statements(user), reading)
        answer = check(world, user, tmp_path)
        assert answer.reason == "IsolationNotProved", answer
        assert f"get .tracking-operator/prefixes/{PREFIX}/owner.json" in answer.message

    def test_keys_that_the_team_has_brought_may_reach_further_and_that_is_remarked(
        self, world: World, tmp_path: Path
    ) -> None:
        user = world.user()
        world.allow(*world.everything(user))
        before = world.keys()
        answer = check(world, user, tmp_path, "--own-keys")
        assert (answer.exit_code, answer.reason) == (0, "ReachesBeyondPrefix"), answer
        assert "list the whole bucket" in answer.message
        assert world.keys() == before

    def test_what_could_be_put_outside_but_not_removed_is_named(self, world: World, tmp_path: Path) -> None:
        user = world.user()
        outside: dict[str, object] = {
            "Effect": "Allow",
            "Principal": {"AWS": [user.access_key_id]},
            "Action": ["s3:PutObject"],
            "Resource": f"arn:aws:s3:::{world.bucket}/*",
        }
        world.allow(*world.statements(user), outside)
        before = world.keys()
        answer = check(world, user, tmp_path)
        (left,) = world.keys() - before
        assert answer.reason == "IsolationNotProved", answer
        assert f"not to delete it again: remove {left}" in answer.message
        check(world, user, tmp_path)
        assert world.keys() - before == {left}, "each attempt overwrites the same object"


class TestAccess:
    @pytest.mark.parametrize(
        ("missing", "request_"),
        [("s3:PutObject", "PutObject"), ("s3:GetObject", "GetObject"), ("s3:DeleteObject", "DeleteObject")],
    )
    def test_what_is_denied_inside_is_named(
        self, world: World, tmp_path: Path, missing: str, request_: str
    ) -> None:
        user = world.user()
        world.allow(*world.statements(user, actions=[one for one in OBJECTS if one != missing]))
        answer = check(world, user, tmp_path)
        assert (answer.exit_code, answer.reason) == (40, "AccessDenied"), answer
        assert answer.message.startswith(f"{request_} of s3://{world.bucket}/{PREFIX}/")

    def test_what_cannot_be_deleted_inside_is_one_object_however_often_it_is_tried(
        self, world: World, tmp_path: Path
    ) -> None:
        user = world.user()
        world.allow(*world.statements(user, actions=[one for one in OBJECTS if one != "s3:DeleteObject"]))
        before = world.keys()
        for _ in range(2):
            assert check(world, user, tmp_path).reason == "AccessDenied"
        assert len(world.keys() - before) == 1

    def test_a_listing_that_is_denied_inside_is_named_and_the_object_removed(
        self, world: World, tmp_path: Path
    ) -> None:
        user = world.user()
        world.allow(world.statements(user)[1])
        before = world.keys()
        answer = check(world, user, tmp_path)
        assert answer.reason == "AccessDenied", answer
        assert answer.message.startswith("ListBucket of ")
        assert world.keys() == before

    def test_a_policy_that_comes_a_moment_later_is_waited_for(self, world: World, tmp_path: Path) -> None:
        user = world.user()
        process = start_program(
            CHECK_ARTIFACTS,
            "s3",
            f"--bucket={world.bucket}",
            f"--prefix={PREFIX}",
            folder=tmp_path,
            environment=world.environment(user, TRACKING_OPERATOR_PATIENCE_SECONDS="30"),
        )
        assert process.stdout is not None
        assert "Trying again" in process.stdout.readline()
        world.allow(*world.statements(user))
        output, _ = process.communicate(timeout=patient(60))
        answer = answer_of(process.returncode, tmp_path, output)
        assert (answer.exit_code, answer.reason) == (0, ""), answer.output


class TestIdentity:
    UNKNOWN = User("nobody", "knows-this")

    def test_that_the_operator_made_and_the_store_does_not_know_is_pending(
        self, world: World, tmp_path: Path
    ) -> None:
        # Long enough for a second try on a machine on which the first takes a second.
        answer = check(world, self.UNKNOWN, tmp_path, TRACKING_OPERATOR_PATIENCE_SECONDS=str(patient(4)))
        assert (answer.exit_code, answer.reason) == (43, "IdentityPending"), answer
        assert "Trying again" in answer.output

    def test_that_the_team_brought_and_the_store_does_not_know_is_refused(
        self, world: World, tmp_path: Path
    ) -> None:
        answer = check(world, self.UNKNOWN, tmp_path, "--own-keys")
        assert (answer.exit_code, answer.reason) == (21, "LoginRefused"), answer
        assert "accessKeyId" in answer.message

    def test_with_the_wrong_secret_is_refused_and_the_secret_is_not_repeated(
        self, world: World, tmp_path: Path
    ) -> None:
        wrong = User(world.user().access_key_id, "planted-secret")
        answer = check(world, wrong, tmp_path)
        assert answer.reason == "LoginRefused", answer
        assert "planted-secret" not in answer.output + answer.message

    def test_that_never_came_is_refused(self, world: World, tmp_path: Path) -> None:
        environment = world.environment(self.UNKNOWN)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del environment[name]
        place = ["s3", f"--bucket={world.bucket}", f"--prefix={PREFIX}"]
        answer = run_program(CHECK_ARTIFACTS, *place, folder=tmp_path, environment=environment)
        assert answer.reason == "LoginRefused", answer
        assert "no credentials" in answer.message

    @pytest.mark.parametrize("form", ["credentials", "accessKeyId"])
    def test_is_read_from_the_mounted_secret(self, world: World, tmp_path: Path, form: str) -> None:
        user = world.user()
        world.allow(*world.statements(user))
        secret = tmp_path / "credentials" / "artifact-store"
        secret.mkdir(parents=True)
        if form == "credentials":
            (secret / form).write_text(
                f"[default]\naws_access_key_id={user.access_key_id}\n"
                f"aws_secret_access_key={user.secret_access_key}\n"
            )
        else:
            (secret / "accessKeyId").write_text(user.access_key_id)
            (secret / "secretAccessKey").write_text(user.secret_access_key)
        environment = world.environment(user)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del environment[name]
        place = ["s3", f"--bucket={world.bucket}", f"--prefix={PREFIX}"]
        answer = run_program(CHECK_ARTIFACTS, *place, folder=tmp_path, environment=environment)
        assert (answer.exit_code, answer.reason) == (0, ""), answer


class TestStore:
    def test_without_the_bucket_is_named(self, world: World, tmp_path: Path) -> None:
        answer = check(world, world.user(), tmp_path, bucket="no-such-bucket")
        assert (answer.exit_code, answer.reason) == (42, "BucketNotFound"), answer

    def test_that_nobody_runs_is_unreachable(self, world: World, tmp_path: Path) -> None:
        nowhere = f"http://127.0.0.1:{free_port()}"
        answer = check(world, world.user(), tmp_path, MLFLOW_S3_ENDPOINT_URL=nowhere)
        assert (answer.exit_code, answer.reason) == (20, "StoreUnreachable"), answer

    def test_that_hangs_is_unreachable(self, tmp_path: Path) -> None:
        with running_store() as server:
            world = new_world(server)
            user = world.user()
            os.kill(server.process.pid, signal.SIGSTOP)
            answer = check(world, user, tmp_path)
            server.resume()
        assert (answer.exit_code, answer.reason) == (20, "StoreUnreachable"), answer

    def test_whose_host_is_not_known_is_named(self, world: World, tmp_path: Path) -> None:
        answer = check(
            world, world.user(), tmp_path, MLFLOW_S3_ENDPOINT_URL="http://no-such-host.invalid:7070"
        )
        assert (answer.exit_code, answer.reason) == (45, "HostNotFound"), answer

    def test_that_speaks_no_tls_is_named(self, world: World, tmp_path: Path) -> None:
        https = world.server.endpoint.replace("http:", "https:")
        answer = check(world, world.user(), tmp_path, MLFLOW_S3_ENDPOINT_URL=https)
        assert (answer.exit_code, answer.reason) == (46, "TlsFailed"), answer
