"""The actions of a server, by Argo CD's API: each does what `kubectl tracking` does, and Git does not take it back."""

import pytest

from dev.gitops.files import SERVER
from dev.local_cluster.failures import ClusterError
from dev.stores.manifests import contents_of
from tests.e2e.mlflow import pods_of, wait_until_ready
from tests.gitops.conftest import AS_IT_WAS, status_of
from tests.gitops.git_team import GitTeam
from tests.operator_fixtures import condition_of
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER_BACKUP
from tracking_operator.kube.objects import SECRET, KubeObject, name_of

SECONDS_TO_ROTATE = 400.0
SECONDS_TO_BACK_UP = 240.0
EVERY = dict.fromkeys(("suspend", "resume", "rotate", "revoke-now", "backup"), True)


@pytest.fixture
def team(team_that_runs: GitTeam) -> GitTeam:
    return team_that_runs


def run(team: GitTeam, action: str) -> None:
    team.argo_cd.run_action(team.application_name, action, namespace=team.name, server=SERVER)


def offered(team: GitTeam) -> dict[str, bool]:
    return team.argo_cd.actions(team.application_name, namespace=team.name, server=SERVER)


def test_a_server_is_suspended_and_resumed_and_its_credentials_rotated(team: GitTeam) -> None:
    assert offered(team) == EVERY | {"resume": False}

    run(team, "suspend")
    team.wait_for_health("Suspended")
    team.wait_for_state(lambda state: (state.sync, state.health) == ("Synced", "Suspended"), "at rest")
    wait_until(lambda: not pods_of(team.team, SERVER), 120, "no pod runs")
    assert offered(team) == EVERY | {"suspend": False}

    run(team, "resume")
    team.wait_for_health("Healthy")
    assert team.team.server(SERVER)["spec"]["suspend"] is False
    assert status_of(team.tracking()) == 200

    before = contents_of(team.team.get(SECRET, f"{SERVER}-client"))["MLFLOW_TRACKING_PASSWORD"]
    run(team, "rotate")
    wait_until(
        lambda: contents_of(team.team.get(SECRET, f"{SERVER}-client"))["MLFLOW_TRACKING_PASSWORD"] != before,
        SECONDS_TO_ROTATE,
        lambda: f"the password is another one: {team.team.server(SERVER).get('status')}",
    )
    wait_until_ready(team.team, SERVER, SECONDS_TO_ROTATE)
    team.wait_for_state(lambda state: state.is_well, "well", SECONDS_TO_ROTATE)
    assert status_of(team.tracking()) == 200


def test_a_server_is_backed_up_and_the_backup_stays_when_argo_cd_syncs(team: GitTeam) -> None:
    run(team, "backup")

    def complete() -> KubeObject | None:
        backups = team.team.api.list(TRACKING_SERVER_BACKUP, team.name)
        return next(
            (one for one in backups if (condition_of(one, "Complete") or {}).get("status") == "True"), None
        )

    backup = wait_until(complete, SECONDS_TO_BACK_UP, lambda: f"a backup is Complete: {team.described()}")
    team.wait_until_well(team.commit("nothing but a comment", AS_IT_WAS))
    assert team.team.api.find(TRACKING_SERVER_BACKUP, team.name, name_of(backup)) is not None


def test_an_action_that_there_is_not_is_refused(team: GitTeam) -> None:
    with pytest.raises(ClusterError, match="script does not exist"):
        run(team, "delete-everything")
