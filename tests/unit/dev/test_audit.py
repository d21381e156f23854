"""Calls are counted from the audit log, from a mark on."""

import json
from pathlib import Path
from threading import Timer

import pytest

from dev.audit import AuditLog


def call(verb: str, name: str, *stages: str, subresource: str = "") -> str:
    """The lines that the API server writes about one call as it goes through these stages."""
    target = {"resource": "configmaps", "namespace": "default", "name": name, "subresource": subresource}
    event = {
        "auditID": f"{verb}-{name}",
        "verb": verb,
        "user": {"username": "somebody"},
        "userAgent": "test",
        "objectRef": target,
        "responseStatus": {"code": 200},
    }
    return "".join(json.dumps(event | {"stage": stage}) + "\n" for stage in stages)


BEGUN, OVER = "RequestReceived", "ResponseComplete"


def append(file: Path, text: str) -> None:
    with file.open("a") as written:
        written.write(text)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "audit.log"
    file.touch()
    return file


def test_only_complete_lines_after_the_mark_count(file: Path) -> None:
    append(file, call("get", "before", BEGUN, OVER))
    log = AuditLog(file)
    assert [call.name for call in log.calls()] == ["before"]
    log.mark()
    append(file, call("patch", "after", BEGUN, OVER) + call("get", "half", BEGUN)[:20])
    (found,) = log.calls()
    assert (found.name, found.user, found.code, found.is_write) == ("after", "somebody", 200, True)


def test_a_call_that_began_before_the_mark_does_not_count(file: Path) -> None:
    append(file, call("patch", "slow", BEGUN))
    log = AuditLog(file)
    log.mark()
    append(file, call("patch", "slow", OVER))
    assert log.calls() == []


def test_a_call_that_is_under_way_is_waited_for(file: Path) -> None:
    append(file, call("patch", "seen-before-it-was-over", BEGUN))
    later = Timer(0.2, lambda: append(file, call("patch", "seen-before-it-was-over", OVER)))
    later.start()
    assert [call.name for call in AuditLog(file).calls()] == ["seen-before-it-was-over"]
    later.join()


@pytest.mark.parametrize(("verb", "subresource"), [("watch", ""), ("create", "exec"), ("get", "log")])
def test_a_call_that_lasts_is_not_waited_for_and_counts_when_it_ends(
    file: Path, verb: str, subresource: str
) -> None:
    append(file, call(verb, "one", BEGUN, "ResponseStarted", subresource=subresource))
    assert AuditLog(file).calls() == []
    append(file, call(verb, "one", OVER, subresource=subresource))
    assert len(AuditLog(file).calls()) == 1


def test_calls_of_no_resource_are_read_too(file: Path) -> None:
    event = {"auditID": "1", "verb": "get", "user": {}, "requestURI": "/version"}
    append(file, "".join(json.dumps(event | {"stage": stage}) + "\n" for stage in (BEGUN, OVER)))
    (found,) = AuditLog(file).calls()
    assert (found.resource, found.is_write) == ("", False)
