"""The loop of a class: can servers be made from it?"""

from datetime import UTC, datetime

import pytest

from tests.unit.examples import SETTINGS, Manifest, tracking_class
from tests.unit.reconcile.memory_api import MemoryApi
from tracking_operator.api.conditions import Reason
from tracking_operator.api.marks import API_VERSION, SERVER_LABEL
from tracking_operator.backend_store.executor import PostgresExecutor
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.reconcile.class_reconciler import ClassReconciler, class_finding
from tracking_operator.reconcile.findings import Verdict
from tracking_operator.reconcile.keys import Outcome
from tracking_operator.reconcile.kinds import TRACKING_SERVER_CLASS
from tracking_operator.reconcile.postgres_servers import PostgresServers


@pytest.mark.parametrize(
    "naming",
    [
        {},
        {"host": "{{ name }}-{{ namespace }}.mlflow.example.com", "path": "/{{ class }}"},
        {"host": "{{ namespaceLabels.stage }}.example.com"},
    ],
)
def test_a_class_whose_templates_work_can_be_used(naming: Manifest) -> None:
    assert class_finding(tracking_class({"naming": naming})).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("naming", "named"),
    [
        ({"host": "{{ nme }}.example.com"}, "naming.host"),
        ({"host": "UPPER"}, "naming.host"),
        ({"path": "{{ name }}"}, "naming.path"),
        ({"path": "{{ 1 / 0 }}"}, "naming.path"),
    ],
)
def test_a_class_whose_template_is_broken_says_which(naming: Manifest, named: str) -> None:
    finding = class_finding(tracking_class({"naming": naming}))
    assert (finding.verdict, finding.reason) == (Verdict.BLOCKED, Reason.INVALID_SPEC)
    assert named in finding.message


async def test_the_status_is_written_once() -> None:
    api, cache = MemoryApi(), ObjectCache(owner_label=SERVER_LABEL)
    metadata = {"name": "standard"}
    stored = api.store(
        {"apiVersion": API_VERSION, "kind": "TrackingServerClass", "metadata": metadata, "spec": {}}
    )
    cache.upsert(stored)
    postgres = PostgresServers(api.as_client(), cache, PostgresExecutor(), SETTINGS.namespace)
    loop = ClassReconciler(
        api.as_client(), cache, postgres, SETTINGS, lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )
    for _ in range(2):
        assert await loop.reconcile("standard", resync=False) == Outcome()
    assert api.calls == ["apply TrackingServerClass/status"]
    conditions = api.objects[(TRACKING_SERVER_CLASS, None, "standard")]["status"]["conditions"]
    assert [(one["type"], one["status"]) for one in conditions] == [("Ready", "True"), ("SpecValid", "True")]
