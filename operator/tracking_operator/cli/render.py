"""``tracking-operator render``: what a TrackingServer becomes, without a cluster."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.cli.manifests import ManifestError, read_as, read_documents
from tracking_operator.controllers.server.artifacts.iam_documents import NOTHING, iam_documents
from tracking_operator.controllers.server.plan import Plan, ReconcileSettings, make_plan
from tracking_operator.controllers.server.spec.inputs import Inputs
from tracking_operator.failures import Failure
from tracking_operator.resources import build_objects
from tracking_operator.runtime.settings import SettingsError, read_settings

SUMMARY = "Print the objects that a TrackingServer becomes, without a cluster."
EXAMPLES = """examples:
  %(prog)s server.yaml
  %(prog)s server.yaml --class class.yaml --namespace-label mlflow=true
  %(prog)s server.yaml | kubectl diff -f -
  %(prog)s server.yaml --class class.yaml --iam   # the policies of the server's role, as JSON

A server that names no class gets the one of --class, or of several the one that is annotated as the default. The ConfigMap
with the programs of the pods, which all servers of a namespace share, is left out: it is an archive in base64."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("server", type=Path, help="a file with a TrackingServer; - for the standard input")
    parser.add_argument(
        "--class", dest="classes", type=Path, action="append", default=[], help="a file with a class"
    )
    parser.add_argument(
        "--namespace-label",
        dest="namespace_labels",
        type=_label,
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
        server, classes = _read(options.server, options.classes)
        labels = dict(options.namespace_labels)
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
    except Failure as failure:
        print(failure.message, file=sys.stderr)
        return 1
    except (ManifestError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.iam:
        return _print_iam_documents(plan, settings)
    yaml.safe_dump_all(build_objects(plan.model), sys.stdout, sort_keys=False)
    return 0


def _print_iam_documents(plan: Plan, settings: ReconcileSettings) -> int:
    documents = iam_documents(plan, settings.cluster_name)
    if not documents:
        print(NOTHING, file=sys.stderr)
        return 1
    print(json.dumps(documents, indent=2))
    return 0


def _read(path: Path, class_files: Sequence[Path]) -> tuple[TrackingServer, list[TrackingServerClass]]:
    """The server, and the classes that it may have: those of their own files, and beside it. Raises ManifestError."""
    documents = read_documents(path)
    beside = [one for one in documents if one.get("kind") == TrackingServerClass.__name__]
    servers = [one for one in documents if one not in beside]
    if len(servers) != 1:
        raise ManifestError(
            f"{path} holds {len(servers)} objects that are no TrackingServerClass: put one TrackingServer into it. Classes "
            "may stand beside it, or in files of their own (--class)."
        )
    server = read_as(TrackingServer, servers[0], path)
    classes = [read_as(TrackingServerClass, one, path) for one in beside]
    for file in class_files:
        classes += [read_as(TrackingServerClass, one, file) for one in read_documents(file)]
    return _with_class(server, classes), classes


def _with_class(server: TrackingServer, classes: Sequence[TrackingServerClass]) -> TrackingServer:
    """The server with the class that it is to have here. Raises ManifestError: nobody knows which."""
    names = [one.metadata.name for one in classes]
    named = server.spec.class_name
    if named and named not in names:
        given = f", and not {' or '.join(names)}" if names else ""
        raise ManifestError(
            f"spec.className of the server is {named!r}: give the file of this class with --class{given}."
        )
    if named or not classes or any(one.is_default for one in classes):
        return server
    if len(classes) > 1:
        raise ManifestError(
            f"The server names no class, and none of {', '.join(names)} is annotated as the default: give one with --class, "
            "or set spec.className."
        )
    return server.updated(spec=server.spec.updated(class_name=names[0]))


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"a label is KEY=VALUE, and not {text!r}")
    return key, value
