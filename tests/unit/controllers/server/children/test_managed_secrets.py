"""Where nothing watches Secrets, those of a server are read by name when it is looked at."""

from tests.unit.controllers.memory_api import MemoryApi
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import SECRET, KubeObject


def secret(name: str, **data: str) -> KubeObject:
    metadata = {"name": name, "namespace": "team-a", "labels": {SERVER_LABEL: "mlflow"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


async def test_what_changed_and_what_is_gone_is_known_after_a_look() -> None:
    api, cache = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL)
    for name in ("mlflow-auth", "mlflow-client"):
        cache.upsert(api.store(secret(name)))
    api.store(secret("mlflow-auth", password="bmV3"))
    del api.objects[(SECRET, "team-a", "mlflow-client")]
    await ManagedSecrets(api.as_client(), cache).look_up("team-a", "mlflow")
    assert [one["data"] for one in cache.children("team-a", "mlflow")] == [{"password": "bmV3"}]
