"""A bucket of somebody else's, for servers whose artifacts do not matter but which have to run in several pods."""

from dev.object_store import ClusterObjectStore
from dev.versitygw import REGION
from tests.operator_fixtures import Team
from tracking_operator.kube.objects import KubeObject

BUCKET = "of-somebody-else"
SECRET_NAME = "bucket"
CA_NAME = "bucket-ca"


def external_bucket(team: Team, store: ClusterObjectStore) -> KubeObject:
    """Give the team keys of the bucket and the store's CA; what its server says in `artifactStore` to use it."""
    with store.client() as client:
        known = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        if BUCKET not in known:
            client.create_bucket(Bucket=BUCKET)
    keys = {"accessKeyId": store.admin.access_key_id, "secretAccessKey": store.admin.secret_access_key}
    _create(team, "Secret", SECRET_NAME, stringData=keys)
    _create(team, "ConfigMap", CA_NAME, data={"ca.crt": store.ca_certificate})
    return {
        "external": {
            "uri": f"s3://{BUCKET}/{team.namespace}",
            "credentialsSecretRef": {"name": SECRET_NAME},
            "endpoint": store.endpoint,
            "region": REGION,
            "caConfigMapRef": {"name": CA_NAME},
        }
    }


def _create(team: Team, kind: str, name: str, **contents: dict[str, str]) -> None:
    metadata = {"name": name, "namespace": team.namespace}
    team.api.create({"apiVersion": "v1", "kind": kind, "metadata": metadata, **contents})
