"""Calls are counted from the audit log, from a mark on."""

import json
from pathlib import Path

from dev.audit import AuditLog


def event(verb: str, name: str, stage: str = "ResponseComplete") -> str:
    return json.dumps(
        {
            "stage": stage,
            "verb": verb,
            "user": {"username": "somebody"},
            "userAgent": "test",
            "objectRef": {"resource": "configmaps", "namespace": "default", "name": name},
            "responseStatus": {"code": 200},
        }
    )


def test_only_complete_lines_after_the_mark_count(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_text(event("get", "before") + "\n")
    log = AuditLog(file)
    assert [call.name for call in log.calls()] == ["before"]
    log.mark()
    with file.open("a") as written:
        written.write(event("patch", "after") + "\n" + event("get", "half")[:20])
    (call,) = log.calls()
    assert (call.name, call.user, call.code, call.is_write) == ("after", "somebody", 200, True)


def test_a_call_counts_once_when_it_is_over(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_text(event("watch", "one", "ResponseStarted") + "\n")
    assert AuditLog(file).calls() == []
    file.write_text(event("watch", "one", "ResponseStarted") + "\n" + event("watch", "one") + "\n")
    assert len(AuditLog(file).calls()) == 1


def test_calls_of_no_resource_are_read_too(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_text(
        json.dumps({"stage": "ResponseComplete", "verb": "get", "user": {}, "requestURI": "/version"}) + "\n"
    )
    (call,) = AuditLog(file).calls()
    assert (call.resource, call.is_write) == ("", False)
