"""Artifacts on their way through a server: what they take of its memory is bounded, whatever is announced."""

import pytest

from tracking_operator.pod_tools.streamed_artifacts import (
    LARGEST_PART,
    LARGEST_UPLOAD,
    MOST_PARTS,
    SMALLEST_PART,
    STREAMS,
    Streams,
    part_size,
)


@pytest.mark.parametrize("length", [None, 0, 2**30, 200 * 2**30, LARGEST_UPLOAD, 100 * 2**40])
def test_parts_are_never_large_whatever_is_announced(length: int | None) -> None:
    assert SMALLEST_PART <= part_size(length) <= LARGEST_PART
    assert part_size(length) * MOST_PARTS >= min(length or 0, LARGEST_UPLOAD)


def test_uploads_with_large_parts_are_fewer_at_a_time() -> None:
    streams = Streams()
    with streams.one_of(LARGEST_PART) as first, streams.one_of(SMALLEST_PART) as second:
        assert (first, second) == (True, False)
    with streams.one_of(SMALLEST_PART) as first, streams.one_of(LARGEST_PART) as second:
        assert (first, second) == (True, False)
        assert _places(streams) == STREAMS - 1, "and give their places back"


def _places(streams: Streams, taken: int = 0) -> int:
    with streams.one_of(SMALLEST_PART) as is_free:
        return _places(streams, taken + 1) if is_free else taken
