"""Images as archives in the cache folder: built when an input changed, found at once when none did."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.images.engines import Order, engine
from dev.images.recipes import (
    Recipe,
    digest_of,
    image_name,
    label_arguments,
    mlflow_recipe,
    operator_recipe,
    snapshot,
)
from dev.local_cluster.cache import cache_folder, locked

KEPT_ARCHIVES = 4


@dataclass(frozen=True)
class Image:
    """A built image.

    Attributes:
        name: as pods write it, for example `tracking-operator/mlflow:3.17.2`.
        archive: an OCI or Docker archive that holds it.
        digest: over everything that it was built from; another digest means another content.
        size: of the archive, whose layers are uncompressed, in bytes.
    """

    name: str
    archive: Path
    digest: str
    size: int


def build_images(
    recipes: Iterable[Recipe] | None = None, *, mlflow: Sequence[str] | None = None
) -> list[Image]:
    """Build what is missing, and return all of them: the operator and the newest MLflow if not told otherwise.

    Args:
        recipes: of the images; the default ones if not given.
        mlflow: versions of MLflow, for example `mlflow_versions()`, that the default recipes are to have instead of
            the newest one.

    Raises:
        ImageError: this machine has nothing to build with, or a build failed.
    """
    return [_build(recipe) for recipe in (default_recipes(mlflow) if recipes is None else recipes)]


def built_images(recipes: Iterable[Recipe] | None = None) -> list[Image]:
    """Those of the images that are in the cache and up to date; builds nothing."""
    wanted = default_recipes() if recipes is None else recipes
    found = [_found(recipe, digest_of(recipe)) for recipe in wanted]
    return [image for image in found if image]


def default_recipes(mlflow: Sequence[str] | None = None) -> list[Recipe]:
    """What a demo needs: the operator, and the newest MLflow or the versions that are given."""
    servers = [mlflow_recipe()] if mlflow is None else [mlflow_recipe(version) for version in mlflow]
    return [operator_recipe(), *servers]


def archive_of(recipe: Recipe, digest: str) -> Path:
    """Where the archive of a recipe is, once it is built from inputs with that digest."""
    return archives_folder() / f"{recipe.target}-{recipe.tag or recipe.version}-{digest}.tar"


def archives_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/tracking-operator/images`."""
    return cache_folder() / "images"


def _build(recipe: Recipe) -> Image:
    built = _found(recipe, digest_of(recipe))
    if built:
        return built
    with locked(archives_folder() / f"{recipe.target}.lock"), snapshot(recipe) as context:
        digest = digest_of(recipe, context)
        built = _found(recipe, digest)
        if built is None:
            archive = archive_of(recipe, digest)
            engine().build(
                Order(recipe, image_name(recipe, digest), context, label_arguments(recipe)), archive
            )
            _forget_older(archive)
            built = _image(recipe, digest)
        return built


def _found(recipe: Recipe, digest: str) -> Image | None:
    return _image(recipe, digest) if archive_of(recipe, digest).is_file() else None


def _image(recipe: Recipe, digest: str) -> Image:
    archive = archive_of(recipe, digest)
    return Image(image_name(recipe, digest), archive, digest, archive.stat().st_size)


def _forget_older(newest: Path) -> None:
    """Keep the last builds of an image, for somebody who switches between two branches."""
    prefix = newest.name.rpartition("-")[0]
    for archive in by_age(newest.parent.glob(f"{prefix}-{'[0-9a-f]' * 12}.tar"))[:-KEPT_ARCHIVES]:
        archive.unlink()


def by_age(files: Iterable[Path]) -> Sequence[Path]:
    """The files, the oldest first."""
    return sorted(files, key=lambda file: file.stat().st_mtime)
