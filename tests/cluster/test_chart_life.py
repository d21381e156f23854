"""What Helm does to a cluster: a first installation, upgrades, definitions switched off and on, an end; TrackingServers stay.

On an API server of its own: it is about definitions that are not there yet, or that go. Nothing runs pods in it.
"""

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dev.chart.__main__ import CHART
from dev.chart.markup import Object
from dev.deploy import BASE, DEFINITIONS, NAMESPACE
from dev.development_cluster import DevelopmentCluster, development_cluster
from tests.helm_chart import HELMS, helm
from tests.waiting import wait_until

RELEASE = "tracking-operator"
OWN_CLASS = "trackingserverclass/standard"
SERVER = "trackingserver/tracking"
SERVERS_NAMESPACE = "default"
DEPLOYMENT = "deployment/tracking-operator"
WITH_CLASS: Object = {"defaultClass": {"spec": {"access": {"authentication": {"basic": {}}}}}}
SECONDS = 30.0


@dataclass(frozen=True)
class Installer:
    """Helm, in one cluster."""

    cluster: DevelopmentCluster
    program: str

    def run(self, *arguments: str, values: object = None) -> str:
        """Run a command on the release."""
        command = (arguments[0], RELEASE, *arguments[1:], "--namespace", NAMESPACE)
        return helm(
            *command, values=values, program=self.program, environment=self.cluster.kubectl_environment()
        )

    def install(self, values: object = None, *options: str) -> str:
        """Install the chart; gives what Helm says then, which ends with the next command."""
        return self.run("install", str(CHART), "--create-namespace", *options, values=values)

    def install_with_class(self) -> str:
        """The same with a default class, which Helm 3 cannot bring together with its definition, and says so."""
        if self.program == "helm":
            return self.install(WITH_CLASS)
        with pytest.raises(subprocess.CalledProcessError) as refusal:
            self.install(WITH_CLASS)
        assert "set it by `helm upgrade`" in refusal.value.stderr
        notes = self.install()
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *DEFINITIONS)
        self.upgrade(WITH_CLASS)
        return notes

    def upgrade(self, values: object = None, *options: str) -> None:
        self.run("upgrade", str(CHART), *options, values=values)

    def uninstall(self) -> None:
        self.run("uninstall")

    def find(self, what: str, field: str = "{.metadata.uid}") -> str:
        """A field of an object; empty if it is not there."""
        namespace = SERVERS_NAMESPACE if what == SERVER else NAMESPACE
        options = ("--ignore-not-found", "--output", f"jsonpath={field}", "--namespace", namespace)
        try:
            return self.cluster.kubectl("get", what, *options)
        except subprocess.CalledProcessError as error:
            if "doesn't have a resource type" in error.stderr:
                return ""
            raise

    def kept(self) -> dict[str, str]:
        """The UIDs of all that may never go with a release."""
        return {what: self.find(what) for what in (*DEFINITIONS, OWN_CLASS, SERVER)}

    def follow(self, notes: str) -> None:
        """Do as the last line of the notes says, as soon as the API server knows what a TrackingServer is."""
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *DEFINITIONS)
        environment = self.cluster.kubectl_environment()
        path = f"{self.cluster.kubectl_path.parent}:{environment['PATH']}"
        command = ["sh", "-c", notes.rstrip().splitlines()[-1]]
        subprocess.run(command, env=environment | {"PATH": path}, check=True, capture_output=True)


@pytest.fixture(scope="module")
def empty_cluster() -> Iterator[DevelopmentCluster]:
    cluster = development_cluster(f"helm-{secrets.token_hex(2)}")
    cluster.create_api_server()
    yield cluster
    cluster.delete()


@pytest.fixture(params=HELMS)
def installer(empty_cluster: DevelopmentCluster, request: pytest.FixtureRequest) -> Iterator[Installer]:
    """Helm in a cluster that does not know TrackingServers."""
    one = Installer(empty_cluster, request.param)
    yield one
    one.run("uninstall", "--ignore-not-found")
    empty_cluster.kubectl("delete", "--ignore-not-found", "--timeout=60s", *DEFINITIONS)
    wait_until(lambda: not any(one.kept().values()), SECONDS, "nothing is left")


@pytest.mark.campaign
def test_a_default_class_comes_with_the_first_installation_and_stays_the_same_one(
    installer: Installer,
) -> None:
    installer.install_with_class()
    uid = installer.find(OWN_CLASS)
    assert uid
    installer.upgrade(
        {"defaultClass": {"spec": WITH_CLASS["defaultClass"]["spec"] | {"limits": {"maxReplicas": 3}}}}
    )
    assert installer.find(OWN_CLASS, "{.spec.limits.maxReplicas}") == "3"
    installer.run("rollback", "1")
    installer.upgrade()
    assert installer.find(OWN_CLASS) == uid


def test_definitions_and_servers_stay_when_definitions_are_switched_off_and_when_the_release_goes(
    installer: Installer,
) -> None:
    installer.follow(installer.install_with_class())
    before = installer.kept()
    assert all(before.values())
    for values in ({"crds": {"enabled": False}}, {}, WITH_CLASS):
        installer.upgrade(values)
        assert installer.kept() == before
    installer.uninstall()
    assert not installer.find(DEPLOYMENT)
    assert installer.kept() == before
    installer.install(WITH_CLASS)
    assert installer.find(DEPLOYMENT)
    assert installer.kept() == before


@pytest.mark.campaign
def test_what_kubectl_installed_is_taken_over(installer: Installer) -> None:
    installer.cluster.kubectl("apply", "--server-side", "-k", str(BASE))
    before = [installer.find(what) for what in (*DEFINITIONS, DEPLOYMENT)]
    options = ("--force-conflicts",) if installer.program == "helm" else ()
    notes = installer.install({"replicas": 3}, "--take-ownership", *options)
    assert installer.find(DEPLOYMENT, "{.spec.replicas}") == "3"
    assert [installer.find(what) for what in (*DEFINITIONS, DEPLOYMENT)] == before
    installer.follow(notes)
