"""`python -m dev.images`: build the container images, and say how large they are."""

import argparse
import sys
from collections.abc import Sequence

from dev.images.build import Image, archives_folder, build_images, built_images
from dev.images.engines import Buildah
from dev.images.failures import ImageError
from dev.images.recipes import EXTRAS, Recipe, mlflow_recipe, mlflow_versions, operator_recipe

TARGETS = ("operator", "mlflow")
EXAMPLES = """\
examples:
  python -m dev.images                                        build both images, or find them built
  python -m dev.images build operator                         only the operator
  python -m dev.images build mlflow --version 3.17.2          an MLflow of that version
  python -m dev.images build mlflow --extras gcs,azure        with the clients of two more artifact stores
  python -m dev.images list                                   what is built and up to date
  python -m dev.images clear                                  remove archives and build layers
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; the exit code is 0, or 1 when an image cannot be built."""
    chosen = _parser().parse_args(arguments)
    try:
        _act(chosen)
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _act(chosen: argparse.Namespace) -> None:
    match chosen.action:
        case "build":
            print(table(build_images(_recipes(chosen))))
        case "list":
            print(table(built_images(_recipes(chosen))))
        case "clear":
            for archive in archives_folder().glob("*.tar"):
                archive.unlink()
            Buildah().clear()


def table(images: Sequence[Image]) -> str:
    """One line per image: its name, its size, its archive."""
    if not images:
        return "No image is built; `python -m dev.images` builds them."
    width = max(len(image.name) for image in images)
    lines = [f"{image.name:{width}}  {image.size / 2**20:6.0f} MiB  {image.archive}" for image in images]
    return "\n".join([f"{'IMAGE':{width}}  {'SIZE':>10}  ARCHIVE", *lines])


def _recipes(chosen: argparse.Namespace) -> list[Recipe]:
    targets = chosen.targets or TARGETS
    extras = [name for name in chosen.extras.split(",") if name]
    found = []
    if "operator" in targets:
        found.append(operator_recipe())
    if "mlflow" in targets:
        found.append(mlflow_recipe(chosen.version, extras))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.images",
        description="Build the container images of the operator and of MLflow as archives in the cache folder.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=["build", "list", "clear"], default="build")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="operator|mlflow", default=[])
    parser.add_argument("--version", metavar="X.Y.Z", help=f"of MLflow: {', '.join(mlflow_versions())}")
    parser.add_argument("--extras", default="", help=f"of the MLflow image: {', '.join(EXTRAS)}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
