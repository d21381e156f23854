"""`python -m dev.gitops`: Argo CD in a development cluster, and tracking servers that come from Git."""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from dev.database import deploy_postgres
from dev.demo.failures import DemoError
from dev.demo.forwarding import PORT, start_forwarding
from dev.deploy import DeployError, deploy
from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.gitops.argo_cd import NAMESPACE, PASSWORD_SECRET, USER, ArgoCd, State, state_of
from dev.gitops.deployment import deploy_argo_cd
from dev.gitops.files import SERVER, platform_files, server_file, team_files
from dev.images.failures import ImageError
from dev.ingress import deploy_ingress_controller
from dev.local_cluster.binaries import published_program
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import DEFAULT_NAME, check_name
from dev.local_cluster.progress import say, step
from dev.local_cluster.waiting import wait_until
from dev.object_store import deploy_object_store

TEAMS: Final = ("team-a", "team-b")
TEAM, OTHER_TEAM = TEAMS
SECONDS_TO_SYNC: Final = 600
SECONDS_BETWEEN: Final = 2.0

EXAMPLES = """\
examples:
  python -m dev.gitops up                    a cluster with Argo CD and a Git server
  python -m dev.gitops demo                  that, the operator, and servers of two teams that come from commits
  python -m dev.gitops demo --name scratch   the same in another cluster, beside the first
"""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks; the exit code is 0, or 1 when a step failed."""
    chosen = _parser().parse_args(arguments)
    try:
        check_name(chosen.name)
        cluster = development_cluster(chosen.name)
        if chosen.action == "up":
            cluster.create()
            print(how_to_look(deploy_argo_cd(cluster)))
        else:
            demo(cluster)
    except (ClusterError, ImageError, DeployError, DemoError) as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"`{' '.join(map(str, error.cmd))}` failed: {error.stderr}", file=sys.stderr)
        return 1
    return 0


def demo(cluster: DevelopmentCluster) -> None:
    """Make everything, have a team's server come from Git and then another's, and print what Argo CD says."""
    started = time.monotonic()
    _headline("A cluster, the operator, a PostgreSQL, an S3 server and an Ingress controller")
    cluster.create()
    deploy(cluster)
    deploy_postgres(cluster)
    deploy_object_store(cluster)
    start_forwarding(deploy_ingress_controller(cluster))
    _headline("Argo CD, which knows what a tracking server is, and a Git server")
    argo_cd = deploy_argo_cd(cluster)
    _headline(
        f"First commit: the class, an Application for each folder of teams/, and {TEAM} with its server"
    )
    url = argo_cd.repository.url_of_pods
    commit(argo_cd, f"The class, and {TEAM}", platform_files(url) | team_files(TEAM, url))
    wait_until_well(argo_cd, "platform", f"tracking-{TEAM}")
    _headline(f"Second commit: {OTHER_TEAM}")
    commit(argo_cd, f"{OTHER_TEAM} has a server, too", team_files(OTHER_TEAM, url))
    wait_until_well(argo_cd, *(f"tracking-{team}" for team in TEAMS))
    _headline(f"Done in {time.monotonic() - started:.0f} s")
    print(what_there_is(argo_cd))
    print(how_to_look(argo_cd))
    print(
        f"\nTheir servers: {', '.join(f'http://localhost:{PORT}/{team}' for team in TEAMS)}; users and passwords are in the"
        f" Secret {SERVER}-client of each namespace.\nChange one: git clone {argo_cd.repository.url}, edit"
        f" {server_file(TEAM)}, commit and push. Argo CD looks every 15 s."
    )


def commit(argo_cd: ArgoCd, message: str, files: Mapping[str, str | None]) -> None:
    """Push a commit, and have Argo CD look at it."""
    revision = argo_cd.repository.commit(message, files)
    say(f"pushed {revision[:8]}: {message}")
    argo_cd.look_again()


def wait_until_well(argo_cd: ArgoCd, *names: str, show: Callable[[str], None] = say) -> None:
    """Wait until Applications are Synced and Healthy, and show how they get there.

    Raises:
        ClusterError: not in time; the message says how they are.
    """
    shown: dict[str, str] = {}

    def states() -> dict[str, State]:
        found = argo_cd.applications()
        return {name: state_of(found[name]) for name in names if name in found}

    def are_well() -> bool:
        seen = states()
        for name, state in seen.items():
            if shown.get(name) != str(state):
                shown[name] = str(state)
                show(f"{name}: {state}")
        return len(seen) == len(names) and all(state.is_well for state in seen.values())

    with step("Synced and Healthy"):
        wait_until(
            are_well,
            seconds=SECONDS_TO_SYNC,
            otherwise=lambda: f"Not all of {', '.join(names)} are Synced and Healthy; they are {states()}.",
            interval=SECONDS_BETWEEN,
        )


def what_there_is(argo_cd: ArgoCd) -> str:
    """Argo CD's Applications and the servers, as kubectl shows them."""
    columns = "NAME:.metadata.name,SYNC:.status.sync.status,HEALTH:.status.health.status,COMMIT:.status.sync.revision"
    applications = argo_cd.kubectl("get", "applications.argoproj.io", f"--output=custom-columns={columns}")
    servers = argo_cd.cluster.kubectl("get", "trackingservers.tracking-operator.dev", "--all-namespaces")
    return f"\n{applications}\n{servers}"


def how_to_look(argo_cd: ArgoCd) -> str:
    """How a person gets at Argo CD."""
    kubectl = "kubectl" if shutil.which("kubectl") else str(argo_cd.cluster.kubectl_path)
    password = (
        f"{kubectl} -n {NAMESPACE} get secret {PASSWORD_SECRET} -o jsonpath='{{.data.password}}' | base64 -d"
    )
    return (
        f"\nArgo CD {argo_cd.version()} answers at {argo_cd.url}. Its Go module has no pages for a browser, so that there are its API"
        f" and its program:\n  export KUBECONFIG={argo_cd.cluster.kubeconfig_path}\n"
        f'  argocd() {{ {published_program("argocd")} "$@"; }}\n'
        f'  argocd login {argo_cd.url.removeprefix("http://")} --plaintext --username {USER} --password "$({password})"\n'
        f"  argocd app list\n"
        f"Git, for everybody who reaches it: {argo_cd.repository.url}"
    )


def _headline(text: str) -> None:
    print(f"\n{text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.gitops",
        description="Argo CD in a development cluster, and tracking servers that come from Git.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["up", "demo"])
    parser.add_argument("--name", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
