"""What the platform team and the teams have in Git: the example of manifests/argocd, for the development cluster."""

from collections.abc import Mapping
from typing import Final

import yaml

from dev.demo.server import CLASS
from dev.deploy import ROOT
from tracking_operator.kube.objects import KubeObject

EXAMPLE: Final = ROOT / "manifests" / "argocd" / "example"
EXAMPLE_URL: Final = "https://git.example.com/platform/mlflow.git"
EXAMPLE_TEAM: Final = "team-a"
SERVER: Final = "tracking"
"""What the example calls a team's server."""
WAVE: Final = "argocd.argoproj.io/sync-wave"


def platform_files(url: str, class_: KubeObject | None = None) -> dict[str, str]:
    """The class, before all else, and the ApplicationSet that makes an Application for each team's folder."""
    class_ = class_ or yaml.safe_load(CLASS.read_text(encoding="utf-8"))
    class_["metadata"]["annotations"][WAVE] = "-1"
    return {
        "platform/class.yaml": yaml.safe_dump(class_, sort_keys=False),
        "platform/applicationset.yaml": _of_example("platform/applicationset.yaml", url),
    }


def team_files(team: str, url: str) -> dict[str, str]:
    """A team's namespace, project and account, and its folder with a server."""
    return {
        f"platform/{team}.yaml": _of_example("platform/team-a.yaml", url).replace(EXAMPLE_TEAM, team),
        server_file(team): (EXAMPLE / "teams" / EXAMPLE_TEAM / "tracking.yaml").read_text(encoding="utf-8"),
    }


def server_file(team: str) -> str:
    """Where a team's server is in Git."""
    return f"teams/{team}/tracking.yaml"


def with_spec(text: str, changes: Mapping[str, object]) -> str:
    """A server's file with other fields in its specification; None removes one."""
    server = yaml.safe_load(text)
    for field, value in changes.items():
        server["spec"][field] = value
    server["spec"] = {field: value for field, value in server["spec"].items() if value is not None}
    return yaml.safe_dump(server, sort_keys=False)


def _of_example(path: str, url: str) -> str:
    return (EXAMPLE / path).read_text(encoding="utf-8").replace(EXAMPLE_URL, url)
