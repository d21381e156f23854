"""Mounts below a folder: small ones that tests fill up, and the removal of all that a cluster leaves."""

from pathlib import Path

from dev.local_cluster.commands import run
from dev.local_cluster.failures import ClusterError


def mount_memory(folder: Path, mebibytes: int) -> None:
    """Mount an empty file system of exactly this size, which everybody may write to, at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=1777", "tracking-operator-dev", folder)


def unmount_below(folder: Path) -> None:
    """Unmount everything at and below `folder`, the deepest first.

    Raises:
        ClusterError: something is still mounted afterwards; removing files would then reach into other places.
    """
    for point in sorted(mounts_below(folder), key=lambda path: len(path.parts), reverse=True):
        run("umount", "--lazy", point)
    if left := mounts_below(folder):
        raise ClusterError(
            f"{left[0]} is still mounted; unmount it and try again. Nothing below it was removed."
        )


def mounts_below(folder: Path) -> list[Path]:
    """The mount points at and below `folder`, in the order in which they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    return [point for point in points if point.is_relative_to(folder)]
