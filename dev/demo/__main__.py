"""`python -m dev.demo`: from nothing to two teams, each with a tracking server whose database and artifacts the other cannot open."""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dev.database import deploy_postgres, remove_postgres
from dev.demo.failures import DemoError
from dev.demo.forwarding import PORT, start_forwarding, stop_forwarding
from dev.demo.isolation import require_isolation, try_all_databases
from dev.demo.prefixes import require_own_prefixes, try_all_prefixes
from dev.demo.report import how_to_open, table_of_access, table_of_reach, table_of_runs
from dev.demo.server import SERVER, apply_class, apply_sample, make_namespace, remove_class, wait_until_ready
from dev.demo.tracking import tracking_api
from dev.demo.training import ALIAS, EXPERIMENT, MODEL, git_commit, predict, train
from dev.deploy import DeployError, deploy, undeploy
from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.images.failures import ImageError
from dev.ingress import deploy_ingress_controller, remove_ingress_controller
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import DEFAULT_NAME, check_name
from dev.local_cluster.progress import say, step
from dev.object_store import deploy_object_store, remove_object_store
from dev.warm import builds_in_background
from tracking_operator.api.tracking_server import TrackingServer

TEAMS = (TEAM, OTHER_TEAM) = ("team-a", "team-b")
MAINTENANCE_DATABASE = "postgres"
ALPHAS_OF_OTHER_TEAM = (0.1,)
"""One run is enough to have artifacts and a model of both teams in the bucket."""
INTERRUPTED = 130  # as shells say it

EXAMPLES = """\
examples:
  python -m dev.demo                        make or keep the cluster, deploy, train, and print what was logged and who sees it
  python -m dev.demo down                   remove the cluster with everything in it
  python -m dev.demo down --keep-cluster    remove only the teams, the stores, the Ingress controller and the operator
  python -m dev.demo --name scratch         the same in another cluster, beside the first
"""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks; the exit code is 0, or 1 when a step failed."""
    chosen = _parser().parse_args(arguments)
    try:
        check_name(chosen.name)
        cluster = development_cluster(chosen.name)
        if chosen.action == "up":
            with builds_in_background():
                up(cluster)
        else:
            stop_forwarding(chosen.name)
            if chosen.keep_cluster:
                remove_teams_and_operator(cluster)
            else:
                cluster.delete()
    except (ClusterError, ImageError, DeployError, DemoError) as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"`{' '.join(map(str, error.cmd))}` failed: {error.stderr}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "Stopped. What was made so far is still there: the demo goes on from it, `down` removes it.",
            file=sys.stderr,
        )
        return INTERRUPTED
    return 0


def up(cluster: DevelopmentCluster) -> None:
    """Make everything, train, and print what was logged and who may open it; what is there already is kept."""
    started = time.monotonic()
    _headline("A cluster")
    cluster.create()
    _headline("The operator")
    deploy(cluster)
    _headline("A PostgreSQL and an S3 server, and a class that gives every tracking server a part of each")
    deploy_postgres(cluster)
    deploy_object_store(cluster)
    _headline(f"An Ingress controller, and port {PORT} of this machine that leads to it")
    start_forwarding(deploy_ingress_controller(cluster))
    apply_class(cluster)
    _headline(f"A tracking server for {TEAM} and one for {OTHER_TEAM}, each `spec: {{}}`")
    with step("Ready"):
        server, other = make_servers(cluster)
    _headline("A training by each team: how much alcohol is in a wine, from twelve other measurements?")
    with step("trained"):
        train(cluster, server, commit=git_commit())
        train(cluster, other, commit=git_commit(), alphas=ALPHAS_OF_OTHER_TEAM)
    _headline(f"A prediction, by the alias `{ALIAS}`")
    with step("predicted"):
        predict(cluster, server)
    _headline("Who may open which database? Each team tries all of them, from its own pod")
    with step("tried"):
        attempts = try_all_databases(cluster, [server, other], MAINTENANCE_DATABASE)
    _headline("Who may do what in the bucket? Each team tries all prefixes, from its own pod")
    with step("tried"):
        reaches = try_all_prefixes(cluster, [server, other])
    _headline(f"Done in {time.monotonic() - started:.0f} s")
    print_what_there_is(cluster, [server, other])
    print(f"\n{table_of_access(attempts)}\n\n{table_of_reach(reaches)}")
    require_isolation(attempts)
    require_own_prefixes(reaches)


def make_servers(cluster: DevelopmentCluster) -> list[TrackingServer]:
    """Make every team's namespace and server at once, and wait until all are Ready."""
    for team in TEAMS:
        make_namespace(cluster, team)
        apply_sample(cluster, team)
    return [_ready_server(cluster, team) for team in TEAMS]


def print_what_there_is(cluster: DevelopmentCluster, servers: Sequence[TrackingServer]) -> None:
    """Print every run that the first server has, and how to open each of them."""
    with tracking_api(cluster, servers[0]) as tracking:
        runs = tracking.runs(EXPERIMENT)
        versions, staged = tracking.model_versions(MODEL), tracking.version_with_alias(MODEL, ALIAS)
    kubectl = "kubectl" if shutil.which("kubectl") else str(cluster.kubectl_path)
    print()
    print(table_of_runs(runs, versions, ALIAS, staged))
    print()
    print(how_to_open(servers, kubectl, _as_typed(cluster.kubeconfig_path)))


def remove_teams_and_operator(cluster: DevelopmentCluster) -> None:
    """Leave the cluster as it was before the demo. Raises DemoError: the cluster does not run."""
    if problems := cluster.problems():
        raise DemoError("\n".join(problems))
    with step(f"remove {' and '.join(TEAMS)}"):
        cluster.kubectl("delete", "--ignore-not-found", "namespace", *TEAMS)
        remove_class(cluster)
    remove_ingress_controller(cluster)
    remove_postgres(cluster)
    remove_object_store(cluster)
    undeploy(cluster)


def _ready_server(cluster: DevelopmentCluster, team: str) -> TrackingServer:
    return wait_until_ready(cluster, team, SERVER, lambda line: say(f"{team}: {line}"))


def _as_typed(path: Path) -> Path:
    """The shorter form of a path below the working directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _headline(text: str) -> None:
    print(f"\n{text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.demo",
        description="A cluster, the operator, a tracking server for each of two teams on one PostgreSQL and one bucket, and a training.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "action", nargs="?", choices=["up", "down"], default="up", help="default: %(default)s"
    )
    parser.add_argument("--name", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    parser.add_argument(
        "--keep-cluster", action="store_true", help="with down: remove only what is in the cluster"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
