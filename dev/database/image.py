"""The image of the development cluster's PostgreSQL."""

import shutil
from pathlib import Path

from dev.images.recipes import Recipe
from dev.local_cluster.versions import pinned
from dev.postgres import VERSIONS, postgres_programs

FOLDER = "dev/images/postgres"
NOT_NEEDED = shutil.ignore_patterns("*.a", "pkgconfig", "include", "pg-symlinks.json")


def postgres_recipe(version: str = VERSIONS[-1]) -> Recipe:
    """A PostgreSQL of a major version, of the programs that the tests of the stores run, too."""
    return Recipe(
        "postgres",
        pinned(f"postgres-{version}"),
        inputs=(FOLDER,),
        tag=version,
        dockerfile=f"{FOLDER}/Dockerfile",
        fetch=lambda context: copy_programs(postgres_programs(version), context / "programs"),
    )


def copy_programs(programs: Path, target: Path) -> None:
    """Copy what a server needs, and not what programs are compiled with."""
    shutil.copytree(programs, target, symlinks=True, ignore=NOT_NEEDED)
