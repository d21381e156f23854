"""The S3 server of the demo and the tests: what its admin may do, how clients reach it, and that its data stays."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from botocore.exceptions import BotoCoreError, ClientError, SSLError

from dev.development_cluster import DevelopmentCluster
from dev.local_cluster.failures import ClusterError
from dev.object_store import ClusterObjectStore, deploy_object_store
from dev.object_store.admin_api import Role, User
from dev.object_store.deployment import new_identities
from dev.object_store.manifests import CERTIFICATES, LABELS
from tests.kube_api import KubeApi
from tests.operator_fixtures import OPERATOR_NAMESPACE
from tracking_operator.kube.objects import CONFIG_MAP, POD, SECRET

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

pytest_plugins = ["tests.cluster_object_store"]


@pytest.fixture
def store(cluster_object_store: ClusterObjectStore) -> Iterator[ClusterObjectStore]:
    """The server, with a bucket of the test's own that the admin made."""
    store = replace(cluster_object_store, bucket=f"test-{uuid4().hex[:8]}")
    with store.client() as admin:
        admin.create_bucket(Bucket=store.bucket)
    yield store
    with store.client() as admin:
        for version in admin.list_object_versions(Bucket=store.bucket).get("Versions", []):
            admin.delete_object(Bucket=store.bucket, Key=version["Key"], VersionId=version["VersionId"])
        admin.delete_bucket(Bucket=store.bucket)


@contextmanager
def a_user(store: ClusterObjectStore, role: Role = "user") -> Iterator[User]:
    """A user that the admin made, for the time of the block."""
    user = User(f"test-{uuid4().hex[:8]}", uuid4().hex, role)
    with store.admin_api() as api:
        api.keep(user)
    yield user
    with store.admin_api() as api:
        api.remove(user.access_key_id)


def policy_for(user: User, store: ClusterObjectStore, prefix: str) -> dict[str, object]:
    objects = {
        "Sid": "objects",
        "Effect": "Allow",
        "Principal": {"AWS": [user.access_key_id]},
        "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        "Resource": [f"arn:aws:s3:::{store.bucket}/{prefix}/*"],
    }
    return {"Version": "2012-10-17", "Statement": [objects]}


def is_denied(client: "S3Client", bucket: str, key: str) -> bool:
    """Whether an object can neither be written nor read."""
    for use in (
        lambda: client.put_object(Bucket=bucket, Key=key, Body=b"mine"),
        lambda: client.get_object(Bucket=bucket, Key=key),
    ):
        with pytest.raises(ClientError) as refusal:
            use()
        if refusal.value.response["Error"]["Code"] != "AccessDenied":
            return False
    return True


def test_a_user_reaches_what_the_policy_says_and_nothing_else(store: ClusterObjectStore) -> None:
    with a_user(store) as user, store.client() as admin, store.client(user.keys) as client:
        assert is_denied(client, store.bucket, "team-a/notes")
        policy = policy_for(user, store, "team-a")
        admin.put_bucket_policy(Bucket=store.bucket, Policy=json.dumps(policy))
        assert store.policy() == policy
        client.put_object(Bucket=store.bucket, Key="team-a/notes", Body=b"ours")
        assert client.get_object(Bucket=store.bucket, Key="team-a/notes")["Body"].read() == b"ours"
        assert is_denied(client, store.bucket, "team-b/notes")
        assert is_denied(client, store.bucket, "team-a-secret/notes")
        assert store.keys() == ["team-a/notes"]
        assert store.keys("team-b/") == []
        admin.delete_bucket_policy(Bucket=store.bucket)
        assert is_denied(client, store.bucket, "team-a/notes")
    assert store.policy() == {}


def test_the_admin_is_not_root_and_makes_users(cluster_object_store: ClusterObjectStore) -> None:
    store = cluster_object_store
    assert store.admin.access_key_id != store.root.access_key_id
    with a_user(store) as user:
        assert {store.admin.access_key_id, user.access_key_id} <= set(store.users())
    assert user.access_key_id not in store.users()


@pytest.mark.parametrize("role", ["user", "userplus"])
def test_others_make_no_users(cluster_object_store: ClusterObjectStore, role: Role) -> None:
    with (
        a_user(cluster_object_store, role) as user,
        cluster_object_store.admin_api(user.keys) as api,
        pytest.raises(ClusterError, match="403") as refusal,
    ):
        api.keep(User("another", "secret-of-another"))
    assert "another" not in cluster_object_store.users()
    assert "secret-of-another" not in str(refusal.value)


def test_a_bucket_that_is_not_there_has_neither_keys_nor_a_policy(
    cluster_object_store: ClusterObjectStore,
) -> None:
    store = replace(cluster_object_store, bucket="nobody-made-this")
    assert (store.keys(), store.policy()) == ([], {})


def test_buckets_can_keep_versions(store: ClusterObjectStore) -> None:
    with store.client() as admin:
        admin.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration={"Status": "Enabled"})
        admin.put_object(Bucket=store.bucket, Key="notes", Body=b"first")
        admin.put_object(Bucket=store.bucket, Key="notes", Body=b"second")
        kept = admin.list_object_versions(Bucket=store.bucket)["Versions"]
        assert [(version["Key"], version["IsLatest"]) for version in kept] == [
            ("notes", True),
            ("notes", False),
        ]
    assert store.keys() == ["notes"]


def test_pods_reach_it_by_a_name_that_its_certificate_carries(
    cluster: DevelopmentCluster, cluster_object_store: ClusterObjectStore
) -> None:
    store = cluster_object_store
    said = cluster.kubectl(
        *("exec", "--namespace", store.namespace, "deployment/s3", "--"),
        *("env", f"SSL_CERT_FILE={CERTIFICATES}/ca.crt"),
        *("versitygw", "admin", "--endpoint-url", store.endpoint, "list-users"),
    )
    assert store.admin.access_key_id in said


def test_nobody_is_let_in_without_tls(cluster_object_store: ClusterObjectStore) -> None:
    assert cluster_object_store.endpoint == "https://s3.s3.svc:7070"
    with (
        replace(cluster_object_store, tls=False).client() as client,
        pytest.raises((BotoCoreError, ClientError)),
    ):
        client.list_buckets()


def test_a_client_that_trusts_another_authority_is_not_deceived(
    cluster_object_store: ClusterObjectStore,
) -> None:
    other = replace(cluster_object_store, ca_certificate=new_identities("s3").ca_certificate)
    with other.client() as client, pytest.raises(SSLError):
        client.list_buckets()


def test_the_operator_is_told_of_it(api: KubeApi, cluster_object_store: ClusterObjectStore) -> None:
    told = cluster_object_store.class_spec()
    assert (told["bucket"], told["endpoint"]) == ("ml-artifacts", cluster_object_store.endpoint)
    assert told["adminSecretRef"] == {"name": "s3-admin"}
    assert told["caConfigMapRef"] == {"name": "s3-ca"}
    secret = api.get(SECRET, OPERATOR_NAMESPACE, "s3-admin")
    assert set(secret["data"]) == {"accessKeyId", "secretAccessKey"}
    assert secret["metadata"]["labels"]["tracking-operator.dev/watch"] == "true"
    authority = api.get(CONFIG_MAP, OPERATOR_NAMESPACE, "s3-ca")["data"]["ca.crt"]
    assert authority == cluster_object_store.ca_certificate


def test_a_second_deployment_changes_nothing(
    cluster: DevelopmentCluster, api: KubeApi, cluster_object_store: ClusterObjectStore
) -> None:
    (before,) = pods(api, cluster_object_store)
    assert deploy_object_store(cluster) == cluster_object_store
    (after,) = pods(api, cluster_object_store)
    assert after == before


def test_an_admin_whose_secret_somebody_changed_gets_it_back(
    cluster: DevelopmentCluster, cluster_object_store: ClusterObjectStore
) -> None:
    admin = cluster_object_store.admin.access_key_id
    with cluster_object_store.admin_api(cluster_object_store.root) as api:
        api.keep(User(admin, "of somebody else", "user"))
    with pytest.raises(ClusterError, match="403"):
        cluster_object_store.users()
    deploy_object_store(cluster)
    assert admin in cluster_object_store.users()


def test_objects_users_and_policies_outlive_the_pod(api: KubeApi, store: ClusterObjectStore) -> None:
    with a_user(store) as user:
        policy = policy_for(user, store, "team-a")
        with store.client() as admin, store.client(user.keys) as client:
            admin.put_bucket_policy(Bucket=store.bucket, Policy=json.dumps(policy))
            client.put_object(Bucket=store.bucket, Key="team-a/notes", Body=b"still here")
        (before,) = pods(api, store)
        store.stop()
        try:
            assert pods(api, store) == []
            with pytest.raises((BotoCoreError, ClusterError)):
                store.keys()
        finally:
            store.start()
        assert pods(api, store) != [before]
        assert store.policy() == policy
        with store.client(user.keys) as client:
            found = client.get_object(Bucket=store.bucket, Key="team-a/notes")
            assert found["Body"].read() == b"still here"


def pods(api: KubeApi, store: ClusterObjectStore) -> list[str]:
    selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
    return [str(pod["metadata"]["uid"]) for pod in api.list(POD, store.namespace, selector)]
