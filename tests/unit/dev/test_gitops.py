"""What `make demo-gitops` puts into Git, and how it reads what Argo CD says."""

from pathlib import Path

import pytest
import yaml

from dev.gitops import argo_cd, deployment, files
from dev.gitops.argo_cd import state_of
from dev.gitops.files import platform_files, server_file, team_files, with_spec
from dev.gitops.image import PARTS
from dev.gitops.repository import Repository, write
from dev.ingress.manifests import HTTP_PORT, HTTPS_PORT
from dev.local_cluster.commands import run
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.versions import pinned
from tracking_operator.api.tracking_server import TrackingServer

URL = "http://git.git.svc/mlflow.git"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    bare = tmp_path / "mlflow.git"
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", bare)
    return Repository(str(bare), URL)


def test_commits_write_change_and_remove_files(repository: Repository) -> None:
    first = repository.commit("Two files", {"a/b.txt": "b", "c.txt": "c"})
    second = repository.commit("One of them", {"a/b.txt": "B", "c.txt": None})
    assert first != second
    assert repository.read("a/b.txt") == "B"
    with pytest.raises(FileNotFoundError):
        repository.read("c.txt")


def test_a_commit_that_changes_nothing_is_none(repository: Repository) -> None:
    first = repository.commit("One file", {"a.txt": "a"})
    assert repository.commit("The same", {"a.txt": "a", "b.txt": None}) == first


def test_a_server_that_does_not_answer_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="git clone"):
        Repository(str(tmp_path / "none"), URL).commit("One file", {"a.txt": "a"})


def test_writing_none_removes_a_file_that_need_not_be_there_or_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", None)
    write(tmp_path / "a" / "b.txt", "b")
    write(tmp_path / "a", None)
    assert list(tmp_path.iterdir()) == []


def test_files_are_the_example_for_this_git_server() -> None:
    for text in (platform_files(URL) | team_files("team-b", URL)).values():
        assert files.EXAMPLE_URL not in text
    platform = platform_files(URL)
    assert URL in platform["platform/applicationset.yaml"]
    assert yaml.safe_load(platform["platform/class.yaml"])["metadata"]["annotations"][files.WAVE] == "-1"


def test_each_team_has_its_own_namespace_project_and_folder() -> None:
    made = team_files("team-b", URL)
    assert "team-a" not in "".join(made.values())
    kinds = [one["kind"] for one in yaml.safe_load_all(made["platform/team-b.yaml"])]
    assert {"Namespace", "AppProject", "ServiceAccount"} <= set(kinds)
    server = TrackingServer.model_validate(yaml.safe_load(made[server_file("team-b")]))
    assert server.metadata.name == files.SERVER


def test_a_specification_is_changed_field_by_field() -> None:
    text = team_files("team-a", URL)[server_file("team-a")]
    changed = yaml.safe_load(with_spec(text, {"replicas": 2, "version": None}))
    assert changed["spec"] == {"replicas": 2}
    assert changed["metadata"] == yaml.safe_load(text)["metadata"]


def test_an_application_that_nobody_has_looked_at_is_not_well() -> None:
    assert not state_of({"metadata": {"name": "x"}}).is_well
    assert str(state_of({})) == "Unknown, Missing"


@pytest.mark.parametrize(
    ("sync", "health", "is_well"),
    [
        ("Synced", "Healthy", True),
        ("OutOfSync", "Healthy", False),
        ("Synced", "Degraded", False),
        ("Synced", "Progressing", False),
    ],
)
def test_an_application_is_well_when_it_is_synced_and_healthy(sync: str, health: str, is_well: bool) -> None:
    status = {"sync": {"status": sync, "revision": "abc"}, "health": {"status": health}}
    assert state_of({"status": status}).is_well is is_well


def test_what_keeps_argo_cd_from_an_application_is_said() -> None:
    state = state_of({"status": {"conditions": [{"type": "InvalidSpecError", "message": "no project"}]}})
    assert "no project" in str(state)


def test_no_two_servers_have_one_port_of_the_node() -> None:

    assert len({HTTP_PORT, HTTPS_PORT, argo_cd.API_PORT, deployment.GIT_PORT}) == 4


def test_the_program_is_the_version_that_is_pinned() -> None:
    assert pinned("argocd", "linker_flags").endswith(f"version={pinned('argocd')}")
    assert {"server", "repo-server", "application-controller", "applicationset-controller"} <= set(PARTS)
