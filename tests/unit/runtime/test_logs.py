"""Each line is a JSON object that says which resource it is about."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from tracking_operator.controllers.request import Request
from tracking_operator.runtime.logs import about, configure_logging

KEY = Request("TrackingServer", "team-a", "mlflow")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logging("INFO", stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_within_a_reconcile_names_the_resource(stream: io.StringIO) -> None:
    with about(KEY):
        logging.getLogger("anything").info("Wrote %s.", "Service")
    logging.getLogger("anything").info("Idle.")
    first, second = lines(stream)
    assert (first["kind"], first["namespace"], first["name"]) == ("TrackingServer", "team-a", "mlflow")
    assert first["message"] == "Wrote Service."
    assert (first["level"], first["logger"]) == ("INFO", "anything")
    assert "name" not in second


def test_what_others_said_does_not_turn_a_line_round(stream: io.StringIO) -> None:
    logging.getLogger("anything").info("It said: %s", "\x1b[2Ja\u202eb")
    assert lines(stream)[0]["message"] == "It said:  [2Ja b"


async def test_lines_of_concurrent_reconciles_do_not_mix(stream: io.StringIO) -> None:
    async def reconcile(name: str) -> None:
        with about(Request("TrackingServer", "team-a", name)):
            for _ in range(3):
                await asyncio.gather(asyncio.sleep(0), say(name))

    async def say(name: str) -> None:
        logging.getLogger("anything").info(name)

    await asyncio.gather(*(reconcile(name) for name in "abc"))
    assert len(lines(stream)) == 9
    assert all(line["name"] == line["message"] for line in lines(stream))


def test_traceback_stays_on_the_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("a\nmistake")
    except ValueError:
        logging.getLogger("anything").exception("Failed.")
    (line,) = lines(stream)
    assert "ValueError: a\nmistake" in line["exception"]


def test_kopf_says_what_a_line_is_about_in_its_own_way(stream: io.StringIO) -> None:
    reference = {"kind": "Pod", "namespace": "team-b", "name": "p", "uid": "u"}
    logging.getLogger("kopf.objects").warning("Hm.", extra={"k8s_ref": reference})
    (line,) = lines(stream)
    assert (line["kind"], line["namespace"], line["name"]) == ("Pod", "team-b", "p")


def test_libraries_are_quiet_below_warning(stream: io.StringIO) -> None:
    logging.getLogger("kopf.anything").info("Chatter.")
    assert lines(stream) == []
