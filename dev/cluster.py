"""`python -m dev.cluster`: make, inspect and remove development clusters."""

import argparse
import subprocess
import sys
from pathlib import Path

from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import DEFAULT_NAME, check_name

EXAMPLES = """\
examples:
  python -m dev.cluster up                         the cluster that `make demo` uses
  python -m dev.cluster up --name scratch          another one beside it; kubeconfig in .cluster/scratch/
  python -m dev.cluster load build/images/mlflow.tar --name scratch
  python -m dev.cluster status --name scratch
  python -m dev.cluster kubectl --name scratch -- get pods --all-namespaces
  python -m dev.cluster down --name scratch
"""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks; the exit code is 0, or 1 when the cluster does not run or cannot be made."""
    chosen = _parser().parse_args(arguments)
    try:
        check_name(chosen.name)
        return _act(chosen, development_cluster(chosen.name))
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1


def _act(chosen: argparse.Namespace, cluster: DevelopmentCluster) -> int:
    match chosen.action:
        case "up":
            cluster.create()
            print(f"export KUBECONFIG={cluster.kubeconfig_path}")
        case "down":
            cluster.delete()
        case "status":
            return _print_status(cluster)
        case "load":
            for archive in chosen.archives:
                cluster.load_docker_image(archive)
        case "kubectl":
            command = [cluster.kubectl_path, *chosen.words]
            return subprocess.run(command, env=cluster.kubectl_environment(), check=False).returncode
    return 0


def _print_status(cluster: DevelopmentCluster) -> int:
    problems = cluster.problems()
    for problem in problems:
        print(problem)
    if problems:
        return 1
    print(f"cluster    {cluster.name} runs")
    print(f"kubeconfig {cluster.kubeconfig_path}")
    print(f"audit log  {cluster.audit_log}")
    print(cluster.kubectl("get", "nodes,pods", "--all-namespaces"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.cluster",
        description="A Kubernetes cluster on this machine: kind where a Docker engine answers, else a node of its own.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--name", default=DEFAULT_NAME, help=f"the cluster's name (default: {DEFAULT_NAME})")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("up", parents=[shared], help="make the cluster, or keep a running one as it is")
    actions.add_parser("down", parents=[shared], help="remove the cluster and everything it made")
    actions.add_parser("status", parents=[shared], help="say whether it runs, and where its kubeconfig is")
    load = actions.add_parser("load", parents=[shared], help="bring image archives to the node")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE", help="an OCI or Docker archive")
    kubectl = actions.add_parser("kubectl", parents=[shared], help="run the cluster's own kubectl")
    kubectl.add_argument("words", nargs="*", metavar="-- WORDS", help="what kubectl is to do")
    return parser


if __name__ == "__main__":
    sys.exit(main())
