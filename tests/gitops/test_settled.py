"""What is settled stays so for ten minutes and after a restart of the operator, whichever way Argo CD compares.

All Applications are watched in the same minutes: one that Argo CD compares by itself, and one that it has the API server compare. In
each is a server for each way by which a difference could come about.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
import yaml

from dev.development_cluster import DevelopmentCluster
from dev.gitops import state_of
from dev.gitops.files import SERVER, platform_files, server_file, team_files
from tests.gitops.conftest import AS_IT_WAS, ASLEEP
from tests.gitops.git_team import APPLICATION, ARGO_CD, SECONDS_TO_BE_WELL, GitTeam
from tests.gitops.test_nothing_is_out_of_sync import (
    SECONDS_BETWEEN_LOOKS,
    SETTLED_SECONDS,
    SYNC_OPTIONS,
    counting,
)
from tests.kube_api import KubeApi
from tests.operator_fixtures import LEASE_NAME, OPERATOR, OPERATOR_NAMESPACE
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import GROUP
from tracking_operator.kube.objects import LEASE, KubeObject, name_of

SECONDS_TO_TAKE_OVER = 120.0
SECONDS_AFTER_A_RESTART = min(SETTLED_SECONDS, 90.0)
SECONDS_BETWEEN_COMPARISONS = 60.0
"""At most: Argo CD is told here to compare every 15 seconds."""
COMPARE_OPTIONS = "argocd.argoproj.io/compare-options"
COMPARED_BY: Mapping[str, dict[str, str]] = {
    "Argo CD": {},
    "the API server": {COMPARE_OPTIONS: "ServerSideDiff=true"},
}
ON_A_VOLUME: KubeObject = {**ASLEEP, "artifactStore": {"volume": {"size": "1Gi"}}}
"""A bucket's policy has room for a few servers only, in the cluster of the tests."""
SERVERS: Mapping[str, tuple[KubeObject, KubeObject]] = {
    SERVER: (AS_IT_WAS, {}),
    "asleep": (ON_A_VOLUME, {}),
    "bare": (ON_A_VOLUME, {"annotations": {}}),
    "replaced": (ON_A_VOLUME, {"annotations": {SYNC_OPTIONS: "Replace=true"}}),
}
"""What is in the folder of each Application, by name: a specification, and what its metadata has in Git."""


@dataclass
class Seen:
    """What Argo CD said of Applications at each look: what was not as it should be, and when it has compared."""

    looks: int = 0
    wrong: list[str] = field(default_factory=list)
    compared: dict[str, set[str]] = field(default_factory=dict)

    def look(self, application: KubeObject) -> None:
        """Record one Application."""
        self.looks += 1
        compared = application["status"].get("reconciledAt", "")
        self.compared.setdefault(name_of(application), set()).add(compared)
        if difference := different(application):
            self.wrong.append(f"{time.strftime('%X')} {name_of(application)}: {difference}")


def different(application: KubeObject) -> str:
    """What is not as it should be: all of it is Synced, and each server by itself; empty if it is so."""
    status = application.get("status") or {}
    synced = (status.get("sync") or {}).get("status")
    found = {
        one["name"]: one.get("status") for one in status.get("resources") or () if one.get("group") == GROUP
    }
    is_so = synced == "Synced" and found == dict.fromkeys(SERVERS, "Synced")
    return "" if is_so else f"{synced}, {found}"


@pytest.fixture
def teams(new_team: Callable[[], GitTeam]) -> Iterator[list[GitTeam]]:
    """A team for each way to compare, with an Application like those of the ApplicationSet, but for its annotations."""
    made = []
    for annotations in COMPARED_BY.values():
        team = new_team()
        url = team.argo_cd.repository.url_of_pods
        files = team_files(team.name, url)
        del files[server_file(team.name)]
        files |= {
            f"{folder(team)}/{name}.yaml": team.server(spec, name, metadata)
            for name, (spec, metadata) in SERVERS.items()
        }
        team.commit_files(f"{team.name} has a server of every kind", files)
        team.api.create(application_of(team, annotations))
        made.append(team)
    yield made
    for team in made:
        team.commit_files(f"{team.name} has no servers", {folder(team): None})


def folder(team: GitTeam) -> str:
    """Where a team's servers are, which is where no ApplicationSet looks."""
    return f"settled/{team.name}"


def application_of(team: GitTeam, annotations: dict[str, str]) -> KubeObject:
    """What the ApplicationSet would make of the folder."""
    text = platform_files(team.argo_cd.repository.url_of_pods)["platform/applicationset.yaml"]
    text = text.replace("{{.path.basename}}", team.name).replace("{{.path.path}}", folder(team))
    template = yaml.safe_load(text)["spec"]["template"]
    metadata = {"name": team.application_name, "namespace": ARGO_CD, "annotations": annotations}
    return {
        "apiVersion": APPLICATION.api_version,
        "kind": APPLICATION.kind,
        "metadata": metadata,
        "spec": template["spec"],
    }


def wait_until_settled(team: GitTeam) -> None:
    """Wait until all of a team's is Synced, and is well: as healthy as its servers that sleep."""

    def is_settled() -> bool:
        application = team.application()
        return not different(application) and state_of(application).health == "Suspended"

    wait_until(is_settled, SECONDS_TO_BE_WELL, team.described, interval=0.5)


def test_nothing_is_out_of_sync_once_it_is_settled_nor_after_a_restart_of_the_operator(
    teams: list[GitTeam],
    cluster: DevelopmentCluster,
    api: KubeApi,
    record_property: Callable[[str, object], None],
) -> None:
    for team in teams:
        wait_until_settled(team)
    seen, pause = Seen(), threading.Event()

    def watch(seconds: float) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun <= seconds:
            for team in teams:
                seen.look(api.get(APPLICATION, ARGO_CD, team.application_name))
            assert seen.wrong == [], seen.wrong
            pause.wait(SECONDS_BETWEEN_LOOKS)

    def takes_over(before: str) -> bool:
        watch(0)
        return active_operator(api) not in ("", before)

    begun = time.monotonic()
    with ExitStack() as together:
        writes = [together.enter_context(counting(cluster, team)) for team in teams]
        watch(SETTLED_SECONDS)
        before = active_operator(api)
        cluster.kubectl("rollout", "restart", f"deployment/{OPERATOR}", "--namespace", OPERATOR_NAMESPACE)
        wait_until(lambda: takes_over(before), SECONDS_TO_TAKE_OVER, "another pod of the operator is active")
        watch(SECONDS_AFTER_A_RESTART)
    seconds = time.monotonic() - begun

    for team in teams:
        wait_until_settled(team)
    written = [call for calls in writes for call in calls]
    assert [call for call in written if call.subresource != "status"] == []
    fewest = min(len(times) for times in seen.compared.values())
    assert fewest >= seconds / SECONDS_BETWEEN_COMPARISONS
    record_property("seconds", round(seconds))
    record_property("looks at Applications", seen.looks)
    record_property("comparisons by Argo CD, at least", fewest)
    record_property("writes to the status of servers", len(written))


def active_operator(api: KubeApi) -> str:
    """The pod of the operator that is active."""
    lease = api.find(LEASE, OPERATOR_NAMESPACE, LEASE_NAME) or {}
    return str((lease.get("spec") or {}).get("holderIdentity") or "")
