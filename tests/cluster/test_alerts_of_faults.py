"""Each alert fires for a real fault: what an operator serves then is handed to Prometheus' own evaluation of the rules.

The rules wait for minutes and hours. What is scraped is taken to go on like that: numbers stay, counters grow as they did.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dev.local_cluster.binaries import published_program
from dev.loopback import free_port
from dev.monitoring.alerts import ALERTS, prometheus_rule
from tests.cluster.held_deletions import WEBHOOK
from tests.kube_api import KubeApi
from tests.operator_fixtures import OPERATOR_NAMESPACE, OperatorHost, Team, a_class, a_team
from tests.operator_object_store import RealObjectStore, an_s3_class, an_s3_team
from tests.operator_postgres import RealPostgres, a_postgres_class, a_postgres_team
from tests.unit.dev.test_alerts_fire import Case, as_test, run
from tests.waiting import patient, wait_until
from tracking_operator.api.labels_and_annotations import ROTATE_CREDENTIALS_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import LEASE
from tracking_operator.runtime.resource_metrics import MOST_SERVERS_OF_A_NAMESPACE

pytestmark = pytest.mark.campaign
pytest_plugins = ["tests.operator_object_store"]

SECONDS_TO_FIRE = 60.0
MINUTES = {"5m": 5, "15m": 15, "1h": 60, "2h": 120}
LONGEST_LOOK_BACK = 40
"""More minutes than any expression looks back, or waits for."""
BY_NAME = {alert.name: alert for alert in ALERTS}
MEASURES_AT_ONCE = {"between_measurements": 0, "until_the_first_measurement": 0}

Labels = Mapping[str, str]
Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass
class Scraper:
    """What Prometheus finds at the port of an operator, and what the rules make of it."""

    port: int
    folder: Path
    before: Page = field(default_factory=dict)

    def mark(self) -> None:
        """Take what is served now for the beginning of the growth of counters."""
        self.before = self.scrape()

    def scrape(self) -> Page:
        """Everything that is served; nothing where nobody answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=patient(10)) as answer:
                text = answer.read().decode()
        except URLError:
            return {}
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return {(one.name, tuple(one.labels.items())): one.value for one in samples}

    def wait_until_fires(self, name: str, labels: Labels, *, only: Labels | None = None) -> None:
        """Wait until exactly this alert fires, among series that have no other values of the labels in ``only``."""
        minute = minute_of(name)
        wait_until(
            lambda: self._fits(name, Case(self._series(minute, only or {}), minute, (), labels)),
            SECONDS_TO_FIRE,
            f"{name} fires for {labels}",
        )

    def wait_until_quiet(self, name: str, *, only: Labels | None = None) -> None:
        """Wait until the alert does not fire."""
        minute = minute_of(name)
        wait_until(
            lambda: self._fits(name, Case(self._series(minute, only or {}), None, (minute,))),
            SECONDS_TO_FIRE,
            f"{name} is quiet",
        )

    def _fits(self, name: str, case: Case) -> bool:
        """Whether promtool finds what a case expects."""
        rules, test = self.folder / "rules.yaml", self.folder / "test.yaml"
        rules.write_text(yaml.safe_dump(prometheus_rule()["spec"]))
        test.write_text(yaml.safe_dump(as_test(BY_NAME[name], case, rules)))
        try:
            run(published_program("promtool"), "test", "rules", test)
        except AssertionError as failed:
            assert f"alertname: {name}" in str(failed), failed
            return False
        return True

    def _series(self, minutes: int, only: Labels) -> dict[str, str]:
        """What is served now, going on for so many minutes."""
        return {
            f"{name}{{{','.join(f'{label}={json.dumps(value)}' for label, value in labels)}}}": (
                self._values(name, labels, found, minutes)
            )
            for (name, labels), found in self.scrape().items()
            if all(dict(labels).get(label, wanted) == wanted for label, wanted in only.items())
        }

    def _values(self, name: str, labels: tuple[tuple[str, str], ...], value: float, minutes: int) -> str:
        """The evaluation begins in 1970: times are told as if it were now."""
        step = value - self.before.get((name, labels), 0.0) if name.endswith("_total") else 0.0
        begin = value - time.time() if name.endswith("_timestamp_seconds") else value
        return f"{begin:.3f}+{step:.3f}x{minutes}"


def minute_of(name: str) -> int:
    """When an alert has fired that holds from the beginning."""
    return MINUTES[BY_NAME[name].holds] + LONGEST_LOOK_BACK


@contextmanager
def scraped(operators: OperatorHost, folder: Path, **settings: object) -> Iterator[Scraper]:
    """An operator that measures at once, for the time of the block."""
    operators.make_room()
    port = free_port()
    operators.start(
        metrics_port=port, timings=json.dumps(MEASURES_AT_ONCE), **{"resync": 2, **settings}
    ).wait_until_active()
    yield Scraper(port, folder)
    operators.make_room()


def test_of_a_server_with_a_database(
    api: KubeApi, operators: OperatorHost, postgres: RealPostgres, tmp_path: Path
) -> None:
    limit = {"limits": {"maxDatabaseSize": "1Mi"}}
    with (
        scraped(operators, tmp_path) as scraper,
        a_postgres_class(api, postgres, spec=limit) as class_,
        a_postgres_team(api, class_) as team,
    ):
        of_class, name = {"class": class_.name}, {"namespace": team.namespace, "name": "mlflow"}
        class_.wait_for()
        scraper.wait_until_quiet("TrackingServerNotReady", only=name)
        scraper.wait_until_quiet("TrackingServerClassPostgresNotReady", only=of_class)

        team.served()
        scraper.wait_until_fires("TrackingServerNotReady", name, only=name)
        scraper.wait_until_fires("TrackingServerDatabaseAboveLimit", name | of_class, only=name | of_class)
        annotations = {"metadata": {"annotations": {ROTATE_CREDENTIALS_ANNOTATION: "please"}}}
        api.patch(TRACKING_SERVER, team.namespace, "mlflow", annotations)
        scraper.wait_until_fires("TrackingServerRotationStalled", name, only=name)

        postgres.running.stop()
        try:
            scraper.wait_until_fires("TrackingServerClassPostgresNotReady", of_class, only=of_class)
            api.patch(TRACKING_SERVER, team.namespace, "mlflow", {"spec": {"deletionPolicy": "Delete"}})
            api.delete(TRACKING_SERVER, team.namespace, "mlflow")
            scraper.wait_until_fires("TrackingServerDeletionStuck", name, only=name)
            scraper.wait_until_quiet("TrackingServerNotReady", only=name)
        finally:
            postgres.running.start()
        scraper.wait_until_quiet("TrackingServerClassPostgresNotReady", only=of_class)
        scraper.wait_until_quiet("TrackingServerDeletionStuck", only=name)


def test_of_a_server_with_a_prefix(
    api: KubeApi, operators: OperatorHost, object_store: RealObjectStore, tmp_path: Path
) -> None:
    limit = {"limits": {"maxArtifactBytes": "1k"}}
    with (
        scraped(operators, tmp_path) as scraper,
        an_s3_class(api, object_store, spec=limit) as class_,
        an_s3_team(api, class_) as team,
    ):
        of_class, name = {"class": class_.name}, {"namespace": team.namespace, "name": "mlflow"}
        team.served()
        scraper.wait_until_quiet("TrackingServerArtifactsAboveLimit", only=name | of_class)
        object_store.put(team.bucket, f"{team.prefix()}/a", body=b"x" * 1001)
        scraper.wait_until_fires("TrackingServerArtifactsAboveLimit", name | of_class, only=name | of_class)
        scraper.wait_until_quiet("TrackingServerBackupLate", only=name)
        backup = {"schedule": "0 2 * * *", "timeZone": "Europe/Atlantis"}
        api.patch(TRACKING_SERVER, team.namespace, "mlflow", {"spec": {"maintenance": {"backup": backup}}})
        scraper.wait_until_fires("TrackingServerBackupLate", name, only=name)
        with object_store.stopped():
            scraper.wait_until_fires("TrackingServerClassBucketNotReady", of_class, only=of_class)
        scraper.wait_until_quiet("TrackingServerClassBucketNotReady", only=of_class)


def test_of_a_namespace_at_its_limit_and_of_an_api_server_that_refuses(
    api: KubeApi, operators: OperatorHost, tmp_path: Path
) -> None:
    with (
        scraped(operators, tmp_path) as scraper,
        a_class(api, {"limits": {"maxServersPerNamespace": 5}}) as class_,
        a_team(api) as team,
    ):
        of_class = {"class": class_}
        for number in range(5):
            scraper.wait_until_quiet("TrackingServersNearLimit", only=of_class)
            team.apply({"className": class_, "suspend": True}, f"s{number}")
        of_both = {"namespace": team.namespace, **of_class}
        scraper.wait_until_fires("TrackingServersNearLimit", of_both, only=of_both)

        scraper.mark()
        scraper.wait_until_quiet("TrackingOperatorReconcileErrors")
        with refused_writes(api, team):
            for number in range(5):
                team.apply({"className": class_, "suspend": True, "workers": 2}, f"s{number}")
            scraper.wait_until_fires("TrackingOperatorReconcileErrors", {"controller": "trackingserver"})


def test_of_more_servers_than_a_worker_can_look_at(
    api: KubeApi, operators: OperatorHost, tmp_path: Path
) -> None:
    """One worker is to look at each of them twenty times a second; their class is not there."""
    with scraped(operators, tmp_path, workers=1, resync=0.05) as scraper, a_team(api) as team:
        scraper.wait_until_quiet("TrackingOperatorSeriesLeftOut")
        for number in range(MOST_SERVERS_OF_A_NAMESPACE + 1):
            team.apply({"className": "no-such-class"}, f"s{number}")
        scraper.wait_until_fires("TrackingOperatorSeriesLeftOut", {})
        scraper.wait_until_fires("TrackingOperatorQueueNotDrained", {"name": "trackingserver"})


@contextmanager
def refused_writes(api: KubeApi, team: Team) -> Iterator[None]:
    """The API server asks a webhook about what servers are made of, and nobody answers there."""
    rules = [
        {
            "apiGroups": ["", "apps"],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["configmaps", "services", "serviceaccounts", "deployments"],
        }
    ]
    webhook = {
        "name": "refuses.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": team.namespace}},
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": rules,
    }
    metadata = {"name": team.namespace}
    api.create(
        {
            "apiVersion": WEBHOOK.api_version,
            "kind": WEBHOOK.kind,
            "metadata": metadata,
            "webhooks": [webhook],
        }
    )
    try:
        yield
    finally:
        api.delete(WEBHOOK, None, team.namespace)


def test_of_an_operator_that_cannot_get_the_lease_or_has_ended(
    api: KubeApi, operators: OperatorHost, tmp_path: Path
) -> None:
    """Somebody who is gone holds the Lease for an hour."""
    operators.make_room()
    name, port = "held-by-nobody", free_port()
    lease = {
        "holderIdentity": "who-is-gone",
        "leaseDurationSeconds": 3600,
        "renewTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }
    metadata = {"name": name, "namespace": OPERATOR_NAMESPACE}
    api.create({"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": metadata, "spec": lease})
    scraper = Scraper(port, tmp_path)
    try:
        operator = operators.start(metrics_port=port, lease_name=name)
        operator.wait_until_ready()
        scraper.wait_until_quiet("TrackingOperatorDown")
        scraper.wait_until_fires("TrackingOperatorNoLeader", {})
        operator.stop()
        scraper.wait_until_fires("TrackingOperatorDown", {})
    finally:
        api.delete(LEASE, OPERATOR_NAMESPACE, name)
        operators.make_room()


def test_every_alert_is_fired_here() -> None:
    """This page names all of them."""
    here = Path(__file__).read_text()
    assert [alert.name for alert in ALERTS if f'fires("{alert.name}"' not in "".join(here.split())] == []
