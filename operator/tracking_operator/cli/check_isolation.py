"""``tracking-operator check isolation``: does the boundary between two teams hold, on this cluster and with this class?"""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tracking_operator.cli.cluster import add_cluster_arguments
from tracking_operator.cli.terminal import complain, say
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.connection import NoClusterError
from tracking_operator.kube.errors import ApiError

if TYPE_CHECKING:
    from tracking_operator.isolation.runner import Matrix

# The attempts come with the libraries of all stores. They are imported by who makes them, and not by the operator, which
# has the same command and would keep 10 MiB for them.

SUMMARY = "Try to get from one team's namespace to another team's data, by everything that harms nothing."
EXAMPLES = """examples:
  %(prog)s --class standard --namespace team-a --against team-b
  %(prog)s --class standard --namespace team-a --against team-b --markdown isolation.md
  %(prog)s --class standard --namespace team-a --against team-b --ingress 10.0.0.7:443
  %(prog)s --list

Each namespace uses the server of the class that it has; where there is none, a server isolation-probe is made and
removed again (with the class's deletion policy). Pods in both namespaces use the Secrets that are there. Requests to
the Kubernetes API are made as a user who is bound to ClusterRole admin in the namespace, for the time of the check.
Whoever runs this needs a kubeconfig that may do that: make RoleBindings and impersonate users. Nothing is changed that
is not made for the check. The exit code is 0 if all was as expected, 1 if not, 2 if the attempts could not be made."""
CANNOT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="the TrackingServerClass")
    parser.add_argument("--namespace", metavar="A", help="the namespace of the team that attacks")
    parser.add_argument("--against", metavar="B", help="the namespace of the team that is attacked")
    parser.add_argument(
        "--operator-namespace",
        default="tracking-operator-system",
        metavar="NAME",
        help="where the operator runs (default: %(default)s)",
    )
    parser.add_argument(
        "--ingress",
        default="",
        metavar="HOST:PORT",
        help="where pods reach the Ingress controller (default: as the Ingress's status says)",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown, too")
    parser.add_argument("--list", action="store_true", help="only list the attempts; no cluster is needed")
    add_cluster_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Make the attempts and print the table."""
    from tracking_operator.isolation.pods import PodError  # noqa: PLC0415
    from tracking_operator.isolation.runner import MatrixError, all_attempts  # noqa: PLC0415
    from tracking_operator.isolation.table import as_markdown, as_text, summary  # noqa: PLC0415

    if options.list:
        for attempt in all_attempts(harmful=False):
            print(f"{attempt.id}: {attempt.by}, against {attempt.against}: {attempt.tried}")
        return 0
    if not (options.class_name and options.namespace and options.against):
        print("Name the class and both namespaces: --class NAME --namespace A --against B.", file=sys.stderr)
        return CANNOT
    try:
        matrix = asyncio.run(_run(options))
    except (NoClusterError, MatrixError, PodError) as error:
        complain(str(error))
        return CANNOT
    except ApiError as error:
        complain(f"The API server refused, or did not answer: {error.message}")
        return CANNOT
    say(as_text(matrix.rows, {}))
    say(f"\n{summary(matrix.rows)}")
    if options.markdown:
        options.markdown.write_text(as_markdown(matrix.rows, matrix.names), encoding="utf-8")
    return 0 if matrix.is_as_expected else 1


async def _run(options: argparse.Namespace) -> "Matrix":
    from tracking_operator.isolation.runner import Options, run_matrix  # noqa: PLC0415

    wanted = Options(
        class_name=options.class_name,
        namespace=options.namespace,
        against=options.against,
        operator_namespace=options.operator_namespace,
        ingress=options.ingress,
    )
    async with await KubeClient.connect(options.kubeconfig, context=options.context) as platform:
        return await run_matrix(platform, wanted, lambda line: print(line, file=sys.stderr, flush=True))
