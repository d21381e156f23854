"""Where kubeconfigs are: in the repository's `.cluster/`, never in ~/.kube."""

from pathlib import Path

from dev.local_cluster.layout import DEFAULT_NAME

FOLDER = Path(__file__).parents[2] / ".cluster"


def kubeconfig_of(name: str) -> Path:
    """`.cluster/kubeconfig` for the default cluster, `.cluster/<name>/kubeconfig` for others."""
    return FOLDER / "kubeconfig" if name == DEFAULT_NAME else FOLDER / name / "kubeconfig"


def remove_kubeconfig(file: Path) -> None:
    """Remove a kubeconfig, and its folder when nothing else is in it."""
    file.unlink(missing_ok=True)
    if file.parent.is_dir() and not any(file.parent.iterdir()):
        file.parent.rmdir()
