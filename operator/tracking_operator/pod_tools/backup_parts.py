"""The parts of a backup as one stream: written to, and read from, URLs that the operator has signed for exactly these objects.

Whoever has such a URL may do that one thing with that one object, for some hours. URLs are in a mounted Secret, and in no message.
"""

import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tracking_operator.pod_tools import s3
from tracking_operator.pod_tools.backup_manifest import (
    LARGEST_MANIFEST,
    MANIFEST_NAME,
    Manifest,
    Part,
    manifest_in,
    part_name,
    sha256_of,
)
from tracking_operator.pod_tools.checks import CheckFailed
from tracking_operator.pod_tools.programs import BACKUP_FOLDER, BACKUP_URLS
from tracking_operator.store_answers import object_store_answer

if TYPE_CHECKING:
    import urllib3

ATTEMPTS = 4
SECONDS_BETWEEN_ATTEMPTS = 2.0
CONNECT_SECONDS, READ_SECONDS = 5.0, 60.0
EXISTS = 412
SUCCESSES = (200, 201, 204)
IDENTITY = s3.Identity("The operator signs other URLs for the next attempt.")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class SignedStore:
    """The objects of one backup, each behind a URL of its own."""

    urls: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str]
    """What was signed with each URL: that nothing is replaced, and how the store has to encrypt."""
    pool: "urllib3.PoolManager"

    def put(self, name: str, content: bytes) -> None:
        """Store an object that is not there yet."""
        unanswered = False

        def request() -> None:
            nonlocal unanswered
            was_unanswered, unanswered = unanswered, True
            answer = self.pool.request(
                "PUT", self._url(name), body=content, headers=self.headers, redirect=False, retries=False
            )
            unanswered = was_unanswered
            if answer.status == EXISTS and not was_unanswered:
                raise CheckFailed(
                    "Busy", f"There is a {name} of another attempt, which is not replaced.", is_awaited=False
                )
            # An attempt of which no answer came may have stored it.
            if answer.status != EXISTS:
                require_success(answer, f"PutObject of {name}")

        patiently(request, f"PutObject of {name}")

    def get(self, name: str, most_bytes: int) -> bytes:
        """Read an object; at most one byte more than it may have."""

        def request() -> bytes:
            answer = self.pool.request(
                "GET", self._url(name), redirect=False, retries=False, preload_content=False
            )
            try:
                require_success(answer, f"GetObject of {name}")
                return answer.read(most_bytes + 1)
            finally:
                answer.close()

        return patiently(request, f"GetObject of {name}")

    def _url(self, name: str) -> str:
        if name not in self.urls:
            raise CheckFailed(
                "BackupFailed",
                f"The backup would have more than {len(self.urls) - 1} parts, which is the most that one may have: back up "
                "without artifacts, or delete some that nobody needs.",
            )
        return self.urls[name]


def mounted_store(credentials: Path) -> SignedStore:
    """The objects that the mounted Secret lets in."""
    import urllib3  # comes with the SDK

    signed = json.loads((credentials / BACKUP_FOLDER / BACKUP_URLS).read_text())
    ignores_tls = os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in s3.TRUE_WORDS
    pool = urllib3.PoolManager(
        cert_reqs="CERT_NONE" if ignores_tls else "CERT_REQUIRED",
        ca_certs=os.environ.get("AWS_CA_BUNDLE") or certificates_of_sdk(),
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
    )
    return SignedStore(signed["urls"], signed["headers"], pool)


def certificates_of_sdk() -> "str | None":
    """The CAs that the SDK would trust, which makes the other requests of the pod."""
    from botocore.httpsession import get_cert_path

    return get_cert_path(True)


def patiently(request: Callable[[], Answer], what: str) -> Answer:
    """Make a request, again if there is no answer or one that may be another one soon. Raises CheckFailed."""
    import urllib3

    for attempt in range(ATTEMPTS):
        try:
            return request()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            failure = s3.unanswered(type(error).__name__, what, cause=str(error))
        except CheckFailed as failed:
            failure = failed
        if not failure.is_awaited or attempt == ATTEMPTS - 1:
            raise failure
        time.sleep(SECONDS_BETWEEN_ATTEMPTS * (attempt + 1))
    raise AssertionError("there is at least one attempt")


def require_success(answer: "urllib3.BaseHTTPResponse", what: str) -> None:
    """Raise CheckFailed with what the store said."""
    if answer.status in SUCCESSES:
        return
    said = f"status {answer.status}"
    raise s3.failure_for(object_store_answer("", answer.status), what, said, IDENTITY)


class PartWriter(io.RawIOBase):
    """A stream that is stored in parts as it comes; not more than one part is in memory."""

    def __init__(self, store: SignedStore, part_bytes: int) -> None:
        super().__init__()
        self._store = store
        self._part_bytes = part_bytes
        self._buffer = bytearray()
        self.parts: list[Part] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        """Take bytes, and store what fills a part."""
        self._buffer += data
        while len(self._buffer) >= self._part_bytes:
            self._store_part(bytes(self._buffer[: self._part_bytes]))
            del self._buffer[: self._part_bytes]
        return len(data)

    def finish(self) -> Sequence[Part]:
        """Store the rest; return all parts."""
        if self._buffer:
            self._store_part(bytes(self._buffer))
            self._buffer.clear()
        return tuple(self.parts)

    def _store_part(self, content: bytes) -> None:
        self._store.put(part_name(len(self.parts)), content)
        self.parts.append(Part(len(content), sha256_of(content)))
        stored = sum(part.size for part in self.parts)
        print(f"Stored part {len(self.parts)}: {stored} bytes so far.", flush=True)


class PartReader(io.RawIOBase):
    """The same stream, read; nothing is given out of a part whose digest is another one."""

    def __init__(self, store: SignedStore, parts: Sequence[Part]) -> None:
        super().__init__()
        self._store = store
        self._parts = parts
        self._next = 0
        self._current = io.BytesIO()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Give the next bytes; 0 at the end."""
        while (count := self._current.readinto(buffer)) == 0 and self._next < len(self._parts):
            self._current = io.BytesIO(self._verified(self._next))
            self._next += 1
        return count

    def _verified(self, number: int) -> bytes:
        part, name = self._parts[number], part_name(number)
        content = self._store.get(name, part.size)
        if len(content) != part.size or sha256_of(content) != part.sha256:
            raise CheckFailed(
                "BackupBroken",
                f"{name} of the backup is not what was stored: another size or SHA-256. Take another backup.",
            )
        print(
            f"Read part {number + 1} of {len(self._parts)}, {part.size} bytes, as they were stored.",
            flush=True,
        )
        return content


def stored_manifest(store: SignedStore, sha256: str) -> Manifest:
    """Read the manifest, which has to be the one with this digest."""
    content = store.get(MANIFEST_NAME, LARGEST_MANIFEST)
    if sha256_of(content) != sha256:
        raise CheckFailed(
            "BackupBroken",
            "The manifest of the backup is not what was stored: it has another SHA-256. Take another backup.",
        )
    try:
        return manifest_in(content)
    except ValueError as error:
        raise CheckFailed("BackupBroken", f"The manifest of the backup cannot be read: {error}.") from error
