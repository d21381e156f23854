"""What goes when a server goes from Git, or its Application ends: under `Retain` no data, by whatever Argo CD tracks."""

from collections.abc import Callable, Iterator

import pytest
import yaml

from dev.database import ClusterPostgres
from dev.gitops import ArgoCd, Comparison, compare_by
from dev.gitops.files import SERVER, server_file, team_files
from tests.gitops.conftest import ASLEEP, MakeTeam
from tests.gitops.git_team import APPLICATION, ARGO_CD, GitTeam
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import PERSISTENT_VOLUME_CLAIM, KubeObject, uid_of

SECONDS_TO_GO = 240.0
CASCADE = "resources-finalizer.argocd.argoproj.io"
NOBODY: KubeObject = {"metadata": {"uid": ""}}
ON_VOLUMES: KubeObject = {
    **ASLEEP,
    "className": "volumes",
    "backendStore": {"sqlite": {"size": "1Gi"}},
    "artifactStore": {"volume": {"size": "1Gi"}},
}
VOLUMES: KubeObject = {
    "apiVersion": "tracking-operator.dev/v1alpha1",
    "kind": "TrackingServerClass",
    "metadata": {"name": "volumes"},
    "spec": {
        "access": {"authentication": {"none": {}}},
        "permissions": {"deletionPolicyDelete": True},
    },
}


@pytest.fixture(params=["annotation", "label", "annotation+label"])
def tracking(argo_cd: ArgoCd, request: pytest.FixtureRequest) -> Iterator[str]:
    """By what Argo CD knows its objects."""
    compare_by(argo_cd, Comparison(request.param))
    yield request.param
    compare_by(argo_cd, Comparison())


KEPT = yaml.safe_dump(
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "b"}}
)
"""Argo CD does not prune by itself what would leave nothing in an Application."""


@pytest.fixture
def team(new_team: Callable[[], GitTeam], tracking: str) -> GitTeam:
    """A team with a server that is called like its Application, and data on volumes; and with something else in its folder."""
    team = new_team()
    files = team_files(team.name, team.argo_cd.repository.url_of_pods)
    del files[server_file(team.name)]
    files |= {
        "platform/volumes.yaml": yaml.safe_dump(VOLUMES),
        file_of(team, "kept"): KEPT,
        file_of(team, "namesake"): team.server(ON_VOLUMES, team.application_name),
    }
    revision = team.commit_files(f"{team.name} has a server on volumes", files)
    team.wait_until_well(revision, health="Suspended")
    return team


def file_of(team: GitTeam, name: str) -> str:
    return f"{server_file(team.name).rpartition('/')[0]}/{name}.yaml"


def claims(team: GitTeam) -> set[str | None]:
    """The volume claims that live, each by what no other one has."""
    found = team.api.list(PERSISTENT_VOLUME_CLAIM, team.name)
    return {uid_of(one) for one in found if "deletionTimestamp" not in one["metadata"]}


def wait_until_the_server_is_gone(team: GitTeam) -> None:
    name = team.application_name
    wait_until(
        lambda: team.api.find(TRACKING_SERVER, team.name, name) is None,
        SECONDS_TO_GO,
        lambda: f"{name} is gone: {team.described()}",
    )


def test_a_server_that_goes_from_git_leaves_its_volumes_and_finds_them_again(team: GitTeam) -> None:
    before, text = claims(team), team.argo_cd.repository.read(file_of(team, "namesake"))
    assert len(before) == 2
    revision = team.commit_files("no server", {file_of(team, "namesake"): None})
    wait_until_the_server_is_gone(team)
    team.wait_until_well(revision)
    assert claims(team) == before

    revision = team.commit_files("the server again", {file_of(team, "namesake"): text})
    team.wait_until_well(revision, health="Suspended")
    assert claims(team) == before


def test_a_server_whose_application_is_deleted_with_all_in_it_leaves_its_volumes(team: GitTeam) -> None:
    before = claims(team)
    uid = uid_of(team.team.server(team.application_name))
    metadata = {"finalizers": [CASCADE]}
    team.api.patch(APPLICATION, ARGO_CD, team.application_name, {"metadata": metadata})
    team.api.delete(APPLICATION, ARGO_CD, team.application_name)
    wait_until(
        lambda: uid_of(team.api.find(TRACKING_SERVER, team.name, team.application_name) or NOBODY) != uid,
        SECONDS_TO_GO,
        team.described,
    )
    # The ApplicationSet makes the Application anew, as the folder is still there: from then on all is as before.
    team.argo_cd.look_again()
    team.wait_for_state(lambda state: (state.sync, state.health) == ("Synced", "Suspended"), "as before")
    assert claims(team) == before


def test_a_server_under_delete_that_goes_from_git_takes_its_data_along(
    make_team: MakeTeam, cluster_postgres: ClusterPostgres
) -> None:
    team = make_team({**ASLEEP, "deletionPolicy": "Delete"}, "Suspended")
    database = team.team.placement(SERVER)["database"]["name"]
    wait_until(lambda: databases(cluster_postgres, database) == 1, 60, f"there is a database {database}")
    team.commit_files("no server", {server_file(team.name): None, file_of(team, "kept"): KEPT})
    wait_until(
        lambda: team.api.find(TRACKING_SERVER, team.name, SERVER) is None, SECONDS_TO_GO, team.described
    )
    assert databases(cluster_postgres, database) == 0


def databases(postgres: ClusterPostgres, name: str) -> int:
    """How many databases have this name."""
    return len(postgres.query("SELECT 1 FROM pg_database WHERE datname = %s", name))
