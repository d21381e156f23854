"""``tracking-operator render``: what a TrackingServer becomes, without a cluster."""

import argparse
import json
import sys
from pathlib import Path

import yaml

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.controllers.server.artifacts.iam_documents import NOTHING, iam_documents
from tracking_operator.controllers.server.plan import Plan, ReconcileSettings, make_plan
from tracking_operator.controllers.server.spec.inputs import Inputs
from tracking_operator.failures import Failure
from tracking_operator.resources import build_objects
from tracking_operator.resources.tools_archive import build_tools_config_map
from tracking_operator.runtime.settings import SettingsError, read_settings

SUMMARY = "Print the objects that a TrackingServer becomes, without a cluster."
EXAMPLES = """examples:
  tracking-operator render server.yaml
  tracking-operator render server.yaml --class class.yaml --namespace-label mlflow=true
  tracking-operator render server.yaml | kubectl diff -f -
  tracking-operator render server.yaml --class class.yaml --iam   # the policies of the server's role, as JSON"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("server", type=Path, help="a file with a TrackingServer")
    parser.add_argument(
        "--class", dest="classes", type=Path, action="append", default=[], help="a file with a class"
    )
    parser.add_argument(
        "--namespace-label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label of the server's namespace",
    )
    parser.add_argument(
        "--iam",
        action="store_true",
        help="print what the platform team attaches to the server's IAM role instead, as JSON",
    )


def execute(options: argparse.Namespace) -> int:
    """Print the objects as YAML, or why there are none."""
    try:
        server = TrackingServer.model_validate(_read(options.server))
        classes = [TrackingServerClass.model_validate(_read(path)) for path in options.classes]
        labels = dict(label.split("=", 1) for label in options.namespace_label)
        around = Inputs(classes, labels, namespace_is_terminating=False, siblings=[])
        operator = read_settings()
        settings = ReconcileSettings(
            operator.cluster_name,
            operator.image_repository,
            namespace=operator.namespace,
            ip_families=operator.ip_families,
            has_built_in_class=operator.built_in_class,
        )
        plan = make_plan(server, around, settings)
    except (OSError, ValueError, SettingsError, Failure) as error:
        print(error, file=sys.stderr)
        return 1
    if options.iam:
        return _print_iam_documents(plan, settings)
    objects = [build_tools_config_map(plan.model.namespace), *build_objects(plan.model)]
    yaml.safe_dump_all(objects, sys.stdout, sort_keys=False)
    return 0


def _print_iam_documents(plan: Plan, settings: ReconcileSettings) -> int:
    documents = iam_documents(plan, settings.cluster_name)
    if not documents:
        print(NOTHING, file=sys.stderr)
        return 1
    print(json.dumps(documents, indent=2))
    return 0


def _read(path: Path) -> dict[str, object]:
    """Read a file's only object; a namespace that it leaves out is ``default``, as with kubectl."""
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no single Kubernetes object: put one resource into it.")
    content.setdefault("metadata", {}).setdefault("namespace", "default")
    return content
