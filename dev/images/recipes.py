"""What each image is built from, and the digest that says whether a built one is still right."""

import hashlib
import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from dev.images.failures import ImageError

ROOT = Path(__file__).parent.parent.parent
REPOSITORY = "tracking-operator"
EXTRAS = ("azure", "gcs")
SHARED_INPUTS = ("Dockerfile", ".dockerignore", "dev/images/builder")
PROJECT_FILE = "pyproject.toml"
# A changed linter setting makes no other image.
PACKAGING_TABLES = ("project", "build-system")


@dataclass(frozen=True)
class Recipe:
    """One image: the Dockerfile's target, its version, build arguments, and the files that go into it.

    What does not come from the repository `fetch` puts into the build context; `version` has to name it exactly.
    """

    target: str
    version: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    tag: str | None = None
    dockerfile: str = "Dockerfile"
    fetch: Callable[[Path], None] | None = None


def operator_recipe(root: Path = ROOT) -> Recipe:
    """The operator, tagged by content: a changed source is another image, and a Deployment rolls to it."""
    version = _project(root)["version"]
    return Recipe(
        "operator", str(version), inputs=(*SHARED_INPUTS, PROJECT_FILE, "uv.lock", "README.md", "operator")
    )


def mlflow_recipe(version: str | None = None, extras: Sequence[str] = (), root: Path = ROOT) -> Recipe:
    """An MLflow tracking server.

    Args:
        version: of MLflow, one of `mlflow_versions()`; the newest if not given.
        extras: artifact stores beside S3, of `EXTRAS`; they become part of the tag.
        root: of the repository.

    Raises:
        ImageError: there is no lock for that version, or no such extra.
    """
    versions = mlflow_versions(root)
    chosen = version or versions[-1]
    if chosen not in versions:
        raise ImageError(
            f"There is no image of MLflow {chosen}; there are {', '.join(versions)}. "
            "A folder in dev/images/mlflow with a pyproject.toml and a uv.lock adds one."
        )
    unknown = sorted(set(extras) - set(EXTRAS))
    if unknown:
        raise ImageError(f"There is no extra {', '.join(unknown)}; there are {', '.join(EXTRAS)}.")
    wanted = sorted(set(extras))
    return Recipe(
        "mlflow",
        chosen,
        arguments={"MLFLOW_VERSION": chosen, "MLFLOW_EXTRAS": " ".join(wanted)},
        inputs=(*SHARED_INPUTS, f"dev/images/mlflow/{chosen}"),
        tag="-".join([chosen, *wanted]),
    )


@contextmanager
def snapshot(recipe: Recipe, root: Path = ROOT) -> Iterator[Path]:
    """A folder with a copy of a recipe's inputs: somebody may edit the originals while an image is built."""
    with TemporaryDirectory(prefix="image-context-") as folder:
        for file in input_files(recipe, root):
            copied = Path(folder) / file.relative_to(root)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copied)
        if recipe.fetch is not None:
            recipe.fetch(Path(folder))
        yield Path(folder)


def image_name(recipe: Recipe, digest: str) -> str:
    """The name that pods use. Without a tag of its own an image is tagged by its content."""
    return f"{REPOSITORY}/{recipe.target}:{recipe.tag or digest}"


def mlflow_versions(root: Path = ROOT) -> list[str]:
    """The versions of MLflow that an image can be built of, the newest last."""
    folders = [file.parent.name for file in (root / "dev/images/mlflow").glob("*/uv.lock")]
    return sorted(folders, key=lambda version: [int(part) for part in version.split(".")])


def digest_of(recipe: Recipe, root: Path = ROOT) -> str:
    """Twelve hex digits over everything that makes the image's content."""
    hashed = hashlib.sha256(
        json.dumps([recipe.target, recipe.version, dict(recipe.arguments)], sort_keys=True).encode()
    )
    for file in input_files(recipe, root):
        name = file.relative_to(root).as_posix()
        hashed.update(name.encode() + b"\0" + oct(file.stat().st_mode & 0o111).encode() + b"\0")
        hashed.update(_packaging(root) if name == PROJECT_FILE else file.read_bytes())
    return hashed.hexdigest()[:12]


def input_files(recipe: Recipe, root: Path = ROOT) -> Iterator[Path]:
    """The files of a recipe in a stable order, without what a Python run leaves beside them."""
    for name in recipe.inputs:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts and ".venv" not in file.parts:
                yield file


def label_arguments(recipe: Recipe, root: Path = ROOT) -> dict[str, str]:
    """The build arguments that only end up in labels: they change no digest."""
    urls = _project(root).get("urls")
    source = urls.get("Repository", "") if isinstance(urls, dict) else ""
    return {"VERSION": recipe.version, "REVISION": revision_of(recipe, root), "SOURCE": str(source)}


def revision_of(recipe: Recipe, root: Path = ROOT) -> str:
    """The last commit that changed one of the inputs, with `-dirty` when they are not committed; empty without git."""
    commit = _git(root, "log", "-1", "--format=%H", "--", *recipe.inputs)
    changed = _git(root, "status", "--porcelain", "--", *recipe.inputs)
    return f"{commit}-dirty" if commit and changed else commit


def _project(root: Path) -> dict[str, object]:
    project = tomllib.loads((root / PROJECT_FILE).read_text())["project"]
    if not isinstance(project, dict):
        raise ImageError(f"{PROJECT_FILE} has no [project] table.")
    return project


def _packaging(root: Path) -> bytes:
    tables = tomllib.loads((root / PROJECT_FILE).read_text())
    hatch = tables.get("tool", {}).get("hatch")
    return json.dumps([[tables.get(name) for name in PACKAGING_TABLES], hatch], sort_keys=True).encode()


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
