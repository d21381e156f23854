"""One versitygw and one moto per run, and a bucket of its own for each test."""

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from dev.loopback import free_port
from dev.versitygw import VersitygwServer, versitygw_server
from tests.stores.s3.world import (
    ADMIN_NAME,
    ADMIN_SECRET,
    HOST,
    ROOT,
    World,
    new_name,
)
from tracking_operator.stores.s3.bucket_address import Bucket
from tracking_operator.stores.s3.tenant import Admin, VersitygwUser
from tracking_operator.stores.s3.versitygw_users import UserAdmin


@pytest.fixture(scope="session")
def gateway() -> Iterator[VersitygwServer]:
    with versitygw_server(
        free_port(), ROOT.access_key_id, ROOT.secret_access_key, has_versioning=True
    ) as server:
        make_admin(server)
        yield server


@pytest.fixture
def world(gateway: VersitygwServer) -> Iterator[World]:
    """A new, empty bucket; the users that a test makes are removed afterwards."""
    world = World(gateway, new_name())
    world.s3.create_bucket(Bucket=world.name)
    before = world.users()
    yield world
    users = UserAdmin(world.admin, VersitygwUser())
    for name in world.users() - before:
        users.delete(name)


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The URL of AWS as moto plays it: S3, IAM and STS at one endpoint."""
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def make_admin(server: VersitygwServer, ca_certificates: str | None = None) -> None:
    """A user of the platform team's: with the role admin, but not root."""
    root = Admin(Bucket("none", endpoint=server.endpoint, ca_certificates=ca_certificates), ROOT)
    users = UserAdmin(root, VersitygwUser())
    body = (
        f"<Account><Access>{ADMIN_NAME}</Access><Secret>{ADMIN_SECRET}</Secret><Role>admin</Role></Account>"
    )
    users._request("create-user", body, doing="create the admin")
