"""The image that runs every part of Argo CD, its Redis, and the Git server."""

import shutil
from pathlib import Path
from typing import Final

from dev.images.recipes import Recipe
from dev.local_cluster import go
from dev.local_cluster.binaries import published_program
from dev.local_cluster.cache import built_once, digest_of
from dev.local_cluster.versions import pinned

NAME: Final = "argocd"
FOLDER: Final = "dev/images/argocd"
PARTS: Final = ("application-controller", "applicationset-controller", "cmp-server", "repo-server", "server")
"""What the program is as well, by the name under which it is started."""
INSTALLATION: Final = "manifests/install.yaml"


def argocd_recipe() -> Recipe:
    """Argo CD; seven minutes when its program is not in the cache."""
    version = pinned(NAME)
    return Recipe(
        NAME, version, inputs=(FOLDER,), tag=version, dockerfile=f"{FOLDER}/Dockerfile", fetch=_fetch
    )


def installation() -> Path:
    """The manifests with which Argo CD installs itself, of the version that is run."""
    key = f"{pinned(NAME)}-{digest_of([pinned(NAME, 'sum'), INSTALLATION])}"
    return built_once("argocd-manifests", key, _download) / Path(INSTALLATION).name


def module_source(folder: Path) -> None:
    """Put a writable copy of Argo CD's source at ``folder``, which must not be there yet."""
    go.download_module(pinned(NAME, "module"), pinned(NAME), pinned(NAME, "sum"), folder)


def _fetch(context: Path) -> None:
    programs = context / "programs"
    programs.mkdir()
    shutil.copyfile(published_program(NAME), programs / NAME)
    (programs / NAME).chmod(0o755)
    for part in PARTS:
        (programs / f"{NAME}-{part}").symlink_to(NAME)


def _download(folder: Path) -> None:
    source = folder / "source"
    module_source(source)
    shutil.copy(source / INSTALLATION, folder)
    shutil.rmtree(source)
