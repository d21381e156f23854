"""`python -m dev.example`: docs/tutorials/wine.md, line by line, with the server of the demo's first team."""

import argparse
import sys

from dev.demo.failures import DemoError
from dev.demo.server import SERVER, wait_until_ready
from dev.demo.tracking import login_variables
from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.example.page import read_through
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.kubeconfig import FOLDER
from dev.local_cluster.layout import DEFAULT_NAME, check_name
from dev.local_cluster.progress import say

TEAM = "team-a"
EXAMPLES = """\
examples:
  python -m dev.example                  in the cluster of `make demo`, which has to run
  python -m dev.example --name scratch   in another cluster's demo
"""


def main(arguments: list[str] | None = None) -> int:
    """Do what the page says; the exit code is 0, or 1 when a command of it failed."""
    chosen = _parser().parse_args(arguments)
    try:
        check_name(chosen.name)
        run(development_cluster(chosen.name))
    except (ClusterError, DemoError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(cluster: DevelopmentCluster) -> None:
    """Read the page through as a data scientist of the demo's first team.

    Raises:
        DemoError: the demo does not run, or a command fails.
    """
    if problems := cluster.problems():
        raise DemoError("\n".join([*problems, "`make demo` makes the cluster and the team's server."]))
    server = wait_until_ready(cluster, TEAM, SERVER)
    home = FOLDER / f"example-{cluster.name}"
    variables = {"MLFLOW_TRACKING_URI": server.status.url or "", **login_variables(cluster, server)}
    read_through(home, variables, say)
    print(f"\nThe project is in {home / 'wine'}, its runs are at {server.status.url}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.example",
        description="The worked example of docs/tutorials/wine.md, line by line, in the demo's cluster.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
