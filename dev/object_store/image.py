"""The image of the development cluster's S3 server."""

from pathlib import Path

from dev.images.recipes import Recipe
from dev.local_cluster.versions import pinned
from dev.versitygw import versitygw_program

FOLDER = "dev/images/versitygw"


def versitygw_recipe() -> Recipe:
    """versitygw, the program that the tests of the stores run, too."""
    version = pinned("versitygw")
    return Recipe(
        "versitygw",
        version,
        inputs=(FOLDER,),
        tag=version,
        dockerfile=f"{FOLDER}/Dockerfile",
        fetch=lambda context: copy_program(versitygw_program(), context / "programs"),
    )


def copy_program(program: Path, folder: Path) -> None:
    """Put the program into a new folder, where everybody may execute it."""
    folder.mkdir()
    (folder / program.name).write_bytes(program.read_bytes())
    (folder / program.name).chmod(0o755)
