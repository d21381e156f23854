"""What the tests of commands share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.fake_cluster import FakeCluster, fake_cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    """A cluster in memory, by whose kubeconfig commands reach it."""
    with fake_cluster(tmp_path) as cluster:
        yield cluster
