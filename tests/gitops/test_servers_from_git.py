"""Commits become servers, and Argo CD says how they are: Healthy only when the new is there, Degraded in the operator's words."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from dev.gitops import state_of
from dev.gitops.files import SERVER
from tests.e2e.mlflow import pods_of, uids
from tests.gitops.conftest import AS_IT_WAS, ASLEEP, DOMAIN, MakeTeam, status_of
from tests.gitops.git_team import GitTeam
from tests.mlflow_versions import NEWEST_VERSION
from tests.operator_fixtures import condition_of
from tracking_operator.kube.objects import KubeObject

NEW = NEWEST_VERSION


@dataclass
class Looks:
    """What was seen at each look at a server while Argo CD called it Healthy with a commit; and every health with that commit."""

    revision: str = ""
    healthy: list[KubeObject] = field(default_factory=list)
    healths: set[str] = field(default_factory=set)


@contextmanager
def looking_at(team: GitTeam, name: str = SERVER) -> Iterator[Looks]:
    """Look at the Application and then at the server, again and again."""
    looks, over = Looks(), threading.Event()

    def look() -> None:
        while not over.is_set():
            state = state_of(team.application())
            if state.revision == looks.revision:
                looks.healths.add(state.health)
                if state.is_well:
                    looks.healthy.append(team.team.server(name))
            over.wait(0.1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        over.set()
        thread.join()


def test_a_commit_adds_a_team_whose_server_is_ready_and_healthy(make_team: MakeTeam) -> None:
    team = make_team({"version": NEW})
    assert condition_of(team.team.server(SERVER), "Ready")["status"] == "True"  # type: ignore[index]
    assert status_of(team.tracking()) == 200
    ready = condition_of(team.team.server(SERVER), "Ready") or {}
    assert team.health() == ("Healthy", ready["message"])


def test_a_commit_with_another_version_number_of_pods_or_host_is_healthy_only_when_the_new_is_there(
    make_team: MakeTeam, older_mlflow: str
) -> None:
    team = make_team({"version": older_mlflow})
    spec: KubeObject = {"version": older_mlflow}
    host = f"{team.name}.{DOMAIN}"
    changes: list[tuple[KubeObject, Callable[[KubeObject], bool]]] = [
        ({"version": NEW}, lambda server: bool(server["status"]["version"] == NEW)),
        ({"replicas": 2}, lambda server: bool(server["status"]["replicas"] == 2)),
        ({"access": {"host": host}}, lambda server: host in server["status"]["url"]),
    ]
    for change, is_new in changes:
        spec = spec | change
        with looking_at(team) as looks:
            looks.revision = team.commit(f"{sorted(change)} is another one", spec)
            team.wait_until_well(looks.revision)
        assert [one["status"] for one in looks.healthy if not is_new(one)] == [], change
        assert "Progressing" in looks.healths, (change, looks.healths)
        assert "Degraded" not in looks.healths, change
        assert status_of(team.tracking()) == 200
    images = {pod["spec"]["containers"][0]["image"] for pod in pods_of(team.team, SERVER)}
    assert len(uids(team.team, SERVER)) == 2
    assert [image for image in images if not image.endswith(NEW)] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "2.0.0"}, "2.0.0"),
        ({"access": {"host": "somebody.elses.org"}}, "somebody.elses.org"),
    ],
    ids=["version", "host"],
)
def test_a_bad_commit_is_degraded_in_our_words_and_what_ran_goes_on(
    team_that_runs: GitTeam, change: KubeObject, words: str
) -> None:
    team = team_that_runs
    pods, tracking = uids(team.team, SERVER), team.tracking()
    team.commit("a mistake", AS_IT_WAS | change)
    message = team.wait_for_health("Degraded")
    ready = condition_of(team.team.server(SERVER), "Ready") or {}
    assert message == ready["message"]
    assert words in message
    team.wait_for_state(lambda state: state.health == "Degraded", "Degraded")
    assert uids(team.team, SERVER) == pods
    assert status_of(tracking) == 200

    team.wait_until_well(team.commit("the mistake is gone", AS_IT_WAS))
    assert uids(team.team, SERVER) == pods


@pytest.mark.parametrize(
    ("change", "field"),
    [({"replicas": -1}, "spec.replicas")],
    ids=["replicas"],
)
def test_a_commit_that_the_api_does_not_take_is_said_and_what_ran_goes_on(
    team_that_runs: GitTeam, change: KubeObject, field: str
) -> None:
    team = team_that_runs
    pods, tracking = uids(team.team, SERVER), team.tracking()
    revision = team.commit("a mistake", AS_IT_WAS | change)
    team.wait_for_state(lambda state: state.sync == "OutOfSync" and state.revision == revision, "OutOfSync")
    operation: KubeObject = {}

    def refusal() -> bool:
        nonlocal operation
        operation = (team.application().get("status") or {}).get("operationState") or {}
        return field in str(operation)

    team.wait_for_state(lambda _: refusal(), f"refused with a sentence about {field}")
    assert uids(team.team, SERVER) == pods
    assert status_of(tracking) == 200
    team.wait_until_well(team.commit("the mistake is gone", AS_IT_WAS))


def test_a_commit_with_another_class_is_refused_by_the_api_and_argo_cd_says_so(
    make_team: MakeTeam,
) -> None:
    team = make_team(ASLEEP, "Suspended")
    placement = team.team.server(SERVER)["status"]["placement"]
    team.commit("another class", {**ASLEEP, "className": "another"})

    def refusal() -> bool:
        operation = (team.application().get("status") or {}).get("operationState") or {}
        return "spec.className is fixed once the server exists" in str(operation)

    team.wait_for_state(lambda _: refusal(), "refused with a sentence about the class")
    team.wait_for_state(
        lambda state: (state.sync, state.health) == ("OutOfSync", "Suspended"), "OutOfSync, and as it was"
    )
    assert team.team.server(SERVER)["status"]["placement"] == placement
