"""A team fills its namespace with large objects that carry our labels: the operator takes no notice worth mentioning."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.operator_fixtures import OperatorHost, RunningOperator, Team
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.kube.objects import KubeObject

OBJECTS = 100
"""All of them in memory would be more than the growth that is allowed."""
SIZE = 900_000
MOST_MIB = 256
"""The limit of the operator's pod."""
MOST_GROWTH_MIB = 64
SECONDS_TO_START = 90.0


@pytest.fixture(autouse=True)
def no_other_operator(operators: OperatorHost) -> None:
    """The test starts the operators that it is about."""
    operators.make_room()


def test_large_objects_with_our_label_do_not_fill_the_memory(team: Team, operators: OperatorHost) -> None:
    first = operators.start()
    first.wait_until_active(SECONDS_TO_START)
    team.made({"suspend": True}, "before")
    at_rest = peak(first)
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(team.api.create, (flood(team.namespace, number) for number in range(OBJECTS))))
    team.made({"suspend": True}, "after")  # what came by the watches before that has been read
    wait_until(lambda: peak(first) >= at_rest, 5, "it still runs")
    assert peak(first) < min(MOST_MIB, at_rest + MOST_GROWTH_MIB)
    assert first.stop() == 0

    second = operators.start()
    second.wait_until_active(SECONDS_TO_START)
    team.made({"suspend": True}, "later")
    assert peak(second) < min(MOST_MIB, at_rest + MOST_GROWTH_MIB)


def flood(namespace: str, number: int) -> KubeObject:
    """One of many large objects that say they belong to a server."""
    metadata = {
        "name": f"flood-{number}",
        "namespace": namespace,
        "labels": {SERVER_LABEL: "before"},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "x" * SIZE}}


def peak(operator: RunningOperator) -> int:
    """The most memory that an operator has had, in MiB."""
    operator.require_running()
    status = Path(f"/proc/{operator.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) // 1024
