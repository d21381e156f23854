"""What a Secret holds appears nowhere else: not in objects, Events, conditions or logs."""

import json

from tests.operator_fixtures import CHILD_KINDS, RunningOperator, Team
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import DEPLOYMENT, EVENT, POD, REPLICA_SET, SECRET

PASSWORD = "correct-horse-battery-staple"
URI = f"postgresql+psycopg2://mlflow:{PASSWORD}@db.invalid:5432/mlflow"


def test_the_password_of_an_external_database_appears_nowhere(team: Team, operator: RunningOperator) -> None:
    secret = {"name": "db", "namespace": team.namespace, "labels": {"tracking-operator.dev/watch": "true"}}
    keys = {"name": "keys", "namespace": team.namespace}
    team.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": {"uri": URI}})
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": keys,
            "stringData": {"AWS_SECRET_ACCESS_KEY": PASSWORD},
        }
    )
    team.apply(
        {
            "backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}},
            "artifactStore": {
                "external": {"uri": "s3://bucket/path", "credentialsSecretRef": {"name": "keys"}}
            },
            "podTemplate": {"nodeSelector": {"no-such-node": "true"}},
        }
    )
    team.end_migration(team.migration_pod(), revision="abc")
    team.wait_for(DEPLOYMENT, "mlflow")
    team.patch(SECRET, {"stringData": {"uri": URI + "2"}}, "db")
    team.patch(SECRET, {"stringData": {"uri": ""}}, "db")
    team.wait_for_condition("BackendStoreReady", reason="SecretKeyMissing")
    team.patch(SECRET, {"stringData": {"uri": URI}}, "db")
    team.wait_for_condition("BackendStoreReady", reason="Pending")

    seen = [
        obj
        for kind in (*CHILD_KINDS, TRACKING_SERVER, EVENT, POD, REPLICA_SET)
        for obj in team.api.list(kind, team.namespace)
    ]
    assert {"Deployment", "Event", "Pod"} <= {obj["kind"] for obj in seen}
    for obj in seen:
        assert PASSWORD not in json.dumps(obj), f"{obj['kind']} {obj['metadata']['name']} holds the password"
    assert PASSWORD not in operator.log_text()
