"""An artifact of S3 that goes through the server without being kept there: what the web side and the plug-in tell each other.

MLflow puts every artifact into a temporary file between client and object store (mlflow/server/artifact_router.py), which costs the
pod twice the time, a disk of the artifact's size, and a page cache that counts as its memory. Here parts of it are in memory, few at a time.
"""

# ruff: noqa: N803 - boto3 calls its arguments so

import asyncio
import io
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, cast

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

MEBIBYTE: Final = 2**20
SMALLEST_PART: Final = 8 * MEBIBYTE
LARGEST_PART: Final = 64 * MEBIBYTE
"""Parts are in memory as a whole, and who uploads may announce whatever length."""
MOST_PARTS: Final = 10_000
"""An object of S3 has no more."""
LARGEST_UPLOAD: Final = MOST_PARTS * LARGEST_PART
PARTS_IN_MEMORY: Final = 2
"""Of one upload, beside the part that is being received."""
STREAMS: Final = 4
"""So many uploads of a process go straight on to the store. More of them would be more memory, so they wait in files."""
PIECE: Final = MEBIBYTE
"""As much of a download is read at once."""

CAN_STREAM_ANSWER: ContextVar[bool] = ContextVar("can_stream_answer", default=False)
"""Whether the request at hand can be answered with an opened artifact."""
LENGTH: ContextVar[int | None] = ContextVar("length", default=None)
"""The length of the upload at hand."""


Settings = Mapping[str, Any]
"""What boto3 takes beside a bucket and a key."""


class Body(Protocol):
    """What botocore gives to read an object."""

    def read(self, amt: int) -> bytes:
        """Read so much."""

    def close(self) -> None:
        """Close the connection, unless all was read."""


class OpenedArtifact(Exception):
    """An artifact to answer with. MLflow's handler has checked the request and asked for a file; this comes instead of it."""

    def __init__(self, name: str, length: int, body: Body) -> None:
        super().__init__(name)
        self.name, self.length, self.body = name, length, body

    def pieces(self) -> Iterator[bytes]:
        """Its content. It is shorter than announced, by an error, where the store stops half-way."""
        try:
            while piece := self.body.read(PIECE):
                yield piece
        finally:
            self.body.close()


class PulledBody(io.RawIOBase):
    """The body of a request, as a file for threads: reading has the event loop fetch more of it."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._loop = asyncio.get_running_loop()
        self._left = b""
        self._is_at_end = False

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read exactly so much, but at the end.

        Raises:
            Exception: whatever ends the request early; what was read until then is not all.
        """
        if self._is_at_end and not self._left:
            return b""
        if size < 0 or len(self._left) < size:
            wanted = size - len(self._left) if size >= 0 else size
            more = asyncio.run_coroutine_threadsafe(self._fetch(wanted), self._loop).result()
            self._left = self._left + more if self._left else more
        if size < 0 or len(self._left) <= size:
            found, self._left = self._left, b""
            return found
        found, self._left = self._left[:size], self._left[size:]
        return found

    async def _fetch(self, wanted: int) -> bytes:
        found: list[bytes] = []
        size = 0
        while not self._is_at_end and (wanted < 0 or size < wanted):
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self._is_at_end = True
                break
            found.append(chunk)
            size += len(chunk)
        return b"".join(found)


def part_size(length: int | None) -> int:
    """The size of an upload's parts: no artifact has more of them than S3 allows, as long as it is not too large for that."""
    needed = -(-(length or 0) // (MOST_PARTS * MEBIBYTE)) * MEBIBYTE
    return min(max(SMALLEST_PART, needed), LARGEST_PART)


class Streams:
    """The uploads of a process that go straight on to the store: as many as there is memory for their parts."""

    def __init__(self) -> None:
        self._parts: list[int] = []

    @contextmanager
    def one_of(self, size: int) -> Iterator[bool]:
        """Take the place of an upload with parts of a size until the block ends; False: there is none."""
        is_free = len(self._parts) < STREAMS and sum(self._parts) + size <= LARGEST_PART
        if is_free:
            self._parts.append(size)
        try:
            yield is_free
        finally:
            if is_free:
                self._parts.remove(size)


class UploadingClient:
    """S3's client for MLflow's repository: what is uploaded is a stream, whatever file it names."""

    def __init__(self, client: "S3Client", body: PulledBody, size: int) -> None:
        self._client, self._body, self._part_size = client, body, size

    def upload_file(self, Filename: str, Bucket: str, Key: str, ExtraArgs: Settings | None = None) -> None:
        """Upload the stream with the settings that MLflow gives a file (boto3's S3.Client.upload_file)."""
        from boto3.s3.transfer import TransferConfig

        size = self._part_size
        config = TransferConfig(
            multipart_threshold=size, multipart_chunksize=size, max_concurrency=PARTS_IN_MEMORY
        )
        config.max_in_memory_upload_chunks = PARTS_IN_MEMORY
        body = cast("IO[bytes]", self._body)
        self._client.upload_fileobj(body, Bucket, Key, ExtraArgs=dict(ExtraArgs or {}), Config=config)


class OpeningClient:
    """S3's client for MLflow's repository: an object that is downloaded to a file is opened, and not read."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client
        self.opened: OpenedArtifact | None = None

    def download_file(self, Bucket: str, Key: str, Filename: str, ExtraArgs: Settings | None = None) -> None:
        """Open an object with the settings that MLflow gives a download (boto3's S3.Client.download_file)."""
        found = self._client.get_object(Bucket=Bucket, Key=Key, **(ExtraArgs or {}))
        self.opened = OpenedArtifact(Key.rpartition("/")[2], found["ContentLength"], found["Body"])
