"""Argo CD's health of servers, classes and backups: by the examples beside the scripts, and of whatever the operator can report."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dev.argocd.__main__ import CUSTOMIZATIONS, FOLDER, stale_files
from dev.argocd.examples import UNSEEN, ClassLife, Life, with_result
from tests.argo_lua import ScriptError, Value, script
from tests.kstatus import kstatus
from tests.reported_servers import (
    CERTIFICATE_IN_THE_MAKING,
    LATER,
    ONE_OF_EACH,
    RESULTS,
    SINGLE,
    Observed,
    conditions_of,
    seen_before,
)
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import GROUP
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.api.tracking_server_client import TrackingServerClient
from tracking_operator.controllers.conditions.busy import KEPT_FOR, BusyMemory, kept_while_busy
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    most_pressing,
    problem,
)
from tracking_operator.controllers.conditions.unreadable import status_with, unreadable_result
from tracking_operator.kube.objects import KubeObject
from tracking_operator.outcomes import OUTCOMES, Blamed

KINDS = FOLDER / CUSTOMIZATIONS / GROUP
HEALTH = {kind.name: script((kind / "health.lua").read_text()) for kind in KINDS.iterdir()}
ALIKE = {
    "Healthy": "Current",
    "Degraded": "Failed",
    "Progressing": "InProgress",
    "Suspended": "InProgress",  # kstatus has no word for it
}
"""What kstatus says where Argo CD says this; of what has served and fails by something that may pass it says InProgress."""
EXPECTED = {
    None: "Healthy",
    Verdict.WORKING: "Progressing",
    Verdict.AT_REST: "Suspended",
    Verdict.BLOCKED: "Degraded",
}
"""By the verdict that decides; the other one is about what was before."""


def health_of(resource: KubeObject) -> dict[str, str]:
    """What Argo CD makes of a resource."""
    found: dict[str, str] = HEALTH[resource["kind"]](resource)
    assert found["status"] in ("Healthy", "Progressing", "Degraded", "Suspended")
    assert isinstance(found["message"], str)
    return found


def examples() -> list[tuple[Path, dict[str, str]]]:
    return [
        (tests.parent / one["inputPath"], one["healthStatus"])
        for tests in sorted(KINDS.glob("*/health_test.yaml"))
        for one in yaml.safe_load(tests.read_text())["tests"]
    ]


def test_generated_files_are_up_to_date() -> None:
    assert list(stale_files()) == []


@pytest.mark.parametrize(
    ("path", "expected"), examples(), ids=lambda one: one.stem if isinstance(one, Path) else ""
)
def test_examples_are_judged_as_argo_cd_tests_them(path: Path, expected: dict[str, str]) -> None:
    resource = yaml.safe_load(path.read_text())
    found = health_of(resource)
    assert {key: text for key, text in found.items() if text} == expected


@pytest.mark.parametrize("path", [path for path, _ in examples()], ids=lambda path: path.stem)
def test_examples_are_resources_that_the_operator_reads(path: Path) -> None:
    resource = yaml.safe_load(path.read_text())
    kinds: dict[
        str, type[TrackingServer | TrackingServerClass | TrackingServerBackup | TrackingServerClient]
    ] = {
        "TrackingServer": TrackingServer,
        "TrackingServerClass": TrackingServerClass,
        "TrackingServerBackup": TrackingServerBackup,
        "TrackingServerClient": TrackingServerClient,
    }
    assert kinds[resource["kind"]].model_validate(resource).metadata.generation > 0


def require_right_health(
    resource: KubeObject, found: Sequence[ConditionResult], *, has_been_ready: bool
) -> None:
    """What Argo CD says is what the verdict asks for, in the words of Ready, and agrees with kstatus."""
    said = health_of(resource)
    (ready,) = (one for one in resource["status"]["conditions"] if one["type"] == "Ready")
    assert said["message"] == ready["message"]
    if said["status"] == "Healthy":
        assert (ready["status"], ready["observedGeneration"]) == ("True", resource["metadata"]["generation"])
    decisive = most_pressing(found)
    is_away = decisive is not None and decisive.verdict is Verdict.FAILING and has_been_ready
    if decisive is not None and decisive.verdict is Verdict.FAILING:
        assert said["status"] == ("Degraded" if has_been_ready else "Progressing"), decisive
        assert decisive.message in said["message"]
    else:
        assert said["status"] == EXPECTED[decisive.verdict if decisive else None], decisive
    assert kstatus(resource) == ("InProgress" if is_away else ALIKE[said["status"]])


@pytest.mark.parametrize("make", [Observed, ClassLife])
def test_whatever_is_reported_is_judged_by_its_verdict(make: Callable[[], Life]) -> None:
    judged = 0
    for result in RESULTS:
        for has_been_ready, life in seen_before(make, result.type):
            found = with_result(life.well(), result)
            for answers in (False, True):
                if result is CERTIFICATE_IN_THE_MAKING and has_been_ready and not answers:
                    continue
                life.report(found, answers=answers)
                require_right_health(life.resource, found, has_been_ready=has_been_ready)
                judged += 1
    assert judged > 1000


def test_what_needs_somebody_most_decides_between_two() -> None:
    pairs = (*itertools.pairwise(SINGLE), (ConditionType.EXPOSED, ConditionType.SPEC_VALID))
    for (first, second), types in itertools.product(itertools.product(ONE_OF_EACH, repeat=2), pairs):
        for has_been_ready, life in seen_before(Observed, types[0]):
            found = life.well()
            for type_, (verdict, reason) in zip(types, (first, second), strict=True):
                found = with_result(found, ConditionResult(type_, verdict, reason, f"{reason.when} {type_}"))
            life.report(found)
            require_right_health(life.resource, found, has_been_ready=has_been_ready)


def test_what_somebody_has_to_mend_is_degraded_once_it_has_served() -> None:
    blamed = [reason for reason in Reason if OUTCOMES[reason].blames is not Blamed.NOBODY]
    for reason in blamed:
        life = Observed()
        life.report(life.creating())
        life.report(life.well())
        life.report(with_result(life.well(), problem(conditions_of(reason)[0], reason, reason.remedy)))
        assert health_of(life.resource) == {"status": "Degraded", "message": reason.remedy}
    assert len(blamed) > 50


def test_what_may_pass_is_not_degraded_while_a_server_is_created() -> None:
    passing = [reason for reason in Reason if OUTCOMES[reason].passes]
    for reason, type_ in ((one, type_) for one in passing for type_ in conditions_of(one)):
        life = Observed()
        life.report(life.creating())
        life.report(with_result(life.creating(), problem(type_, reason, reason.when)))
        assert health_of(life.resource)["status"] == "Progressing"
    assert len(passing) > 30


LOOKS = st.fixed_dictionaries({type_: st.sampled_from(ONE_OF_EACH) for type_ in LATER})


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(LOOKS, st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_it_is_read_from_the_conditions_whether_a_server_has_been_ready(
    looks: list[tuple[dict[ConditionType, tuple[Verdict, Reason]], bool, bool]],
) -> None:
    life, has_been_ready = Observed(), False
    for states, answers, is_edited in looks:
        if is_edited:
            life.edit({})
        found = life.well()
        for type_, (verdict, reason) in states.items():
            found = with_result(found, ConditionResult(type_, verdict, reason, reason.when))
        life.report(found, answers=answers)
        require_right_health(life.resource, found, has_been_ready=has_been_ready)
        has_been_ready = has_been_ready or life.resource["status"]["conditions"][0]["status"] == "True"


def test_a_change_that_nobody_has_looked_at_is_never_healthy() -> None:
    for _, life in seen_before(Observed, ConditionType.EXPOSED):
        life.edit({"replicas": 2})
        assert health_of(life.resource) == {"status": "Progressing", "message": UNSEEN}
        if "status" in life.resource:
            life.resource["status"]["observedGeneration"] = life.generation  # written by half
            assert health_of(life.resource) == {"status": "Progressing", "message": UNSEEN}


def test_a_resource_that_the_operator_cannot_read_is_degraded_in_its_words() -> None:
    life = Observed()
    life.report(life.well())
    life.edit({"replicas": "many"})
    with pytest.raises(ValidationError) as raised:
        TrackingServer.model_validate(life.resource)
    result = unreadable_result(raised.value)
    status, _ = status_with(life.resource, result, datetime(2026, 1, 2, tzinfo=UTC))
    said = health_of(life.resource | {"status": status})
    assert said == {"status": "Degraded", "message": result.message}


def test_a_busy_store_makes_nothing_degraded() -> None:
    life = Observed()
    life.report(life.well())
    busy = problem(ConditionType.BACKEND_STORE_READY, Reason.BUSY, "PostgreSQL has too much to do.")
    memory, now = BusyMemory(), datetime(2026, 1, 2, tzinfo=UTC)
    for later, expected in ((timedelta(), "Healthy"), (KEPT_FOR + timedelta(seconds=1), "Progressing")):
        before = TrackingServer.model_validate(life.resource).status.conditions
        found = kept_while_busy(with_result(life.well(), busy), before, 1, memory, now + later)
        life.report(found)
        assert health_of(life.resource)["status"] == expected


ODD: Final[tuple[Value, ...]] = (None, "x", 7, True, [], {}, [None], ["x", 7], {"a": {"b": 1}}, [[{}]])


def paths_in(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in members:
        yield from paths_in(inner, (*path, key))


def with_odd(value: Value, path: Sequence[str | int], odd: object) -> Value:
    """The value with something else at a path."""
    if not path:
        return odd
    changed = copy(value)
    changed[path[0]] = with_odd(value[path[0]], path[1:], odd)
    return changed


@pytest.mark.parametrize("name", ["healthy", "store_is_away", "suspended", "refused"])
def test_nothing_that_a_resource_may_hold_raises_or_makes_it_healthy(name: str) -> None:
    resource = yaml.safe_load((KINDS / "TrackingServer" / "testdata" / f"{name}.yaml").read_text())
    was_healthy = health_of(resource)["status"] == "Healthy"
    read = [
        path for path in paths_in(resource) if path[0] in ("metadata", "status") and "placement" not in path
    ]
    for path, odd in itertools.product(read, ODD):
        said = health_of(with_odd(resource, path, odd))
        assert said["status"] != "Healthy" or (was_healthy and path not in DECISIVE), (path, odd)


DECISIVE: Final[set[tuple[str | int, ...]]] = {
    ("metadata",),
    ("metadata", "generation"),
    ("status",),
    ("status", "observedGeneration"),
    ("status", "conditions"),
    ("status", "conditions", 0),
    *(("status", "conditions", 0, name) for name in ("type", "status", "observedGeneration")),
}
"""Without which nobody can say that the server is Ready for what is wanted."""


@pytest.mark.parametrize(
    "text",
    [
        "return {x = string.len('x')}",
        "return {x = ('x'):len()}",
        "return {x = os.time()}",
        "return {x = io.write}, io.write('')",
        "return {x = math.pi}",
        "return {x = require('string').len('x')}",
        "return {x = require('os').getenv('HOME')}",
        "return {x = debug.getinfo(1)}",
        "return {x = coroutine.create}",
        "return {x = python.eval('1')}",
        "return 'no table'",
    ],
)
def test_scripts_are_run_with_no_more_than_argo_cd_gives_them(text: str) -> None:
    with pytest.raises(ScriptError):
        script(text)({})
