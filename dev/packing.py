"""Archives that are the same bytes for the same content, whoever packs them and when."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A file of an archive: its path there, its content, and its permissions."""

    path: str
    content: bytes
    mode: int = 0o644


def tar_gz(entries: Iterable[Entry]) -> bytes:
    """A compressed archive of these files in this order, without owners and times."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry in entries:
            described = tarfile.TarInfo(entry.path)
            described.size, described.mode = len(entry.content), entry.mode
            tar.addfile(described, io.BytesIO(entry.content))
    return gzip.compress(packed.getvalue(), mtime=0)
