"""A bucket of somebody else's, for servers whose artifacts do not matter but which have to run in several pods."""

from dev.object_store import ClusterObjectStore
from tests.operator_fixtures import Team
from tracking_operator.kube.objects import KubeObject

BUCKET = "of-somebody-else"
SECRET_NAME = "bucket"


def external_bucket(team: Team, store: ClusterObjectStore) -> KubeObject:
    """Give the team keys of the bucket in a Secret; what its server says in `artifactStore` to use it."""
    with store.client() as client:
        known = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        if BUCKET not in known:
            client.create_bucket(Bucket=BUCKET)
    contents = {
        "accessKeyId": store.admin.access_key_id,
        "secretAccessKey": store.admin.secret_access_key,
        "MLFLOW_S3_ENDPOINT_URL": store.endpoint,
        "MLFLOW_S3_IGNORE_TLS": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    metadata = {"name": SECRET_NAME, "namespace": team.namespace}
    team.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": contents})
    return {
        "external": {
            "uri": f"s3://{BUCKET}/{team.namespace}",
            "credentialsSecretRef": {"name": SECRET_NAME},
        }
    }
