"""Deadlines of tests that run programs grow with the patience of the run: a busy machine is no failure."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BESIDE_REAL_PROGRAMS = sorted(
    path
    for path in TESTS.rglob("*.py")
    if path.relative_to(TESTS).parts[0] != "unit" and path.name != "waiting.py"
)
WAITS = {"wait", "communicate", "run", "request", "urlopen", "open", "PoolManager", "check_output"}
"""What gives up after `timeout=`; `asyncio.wait` and pauses inside of a loop are neither."""
FIRST_IS_A_DEADLINE = {"process.wait", "begun.wait", "asyncio.timeout"}


@pytest.mark.parametrize("path", BESIDE_REAL_PROGRAMS, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_deadline_beside_real_programs_grows_with_the_patience_of_the_run(path: Path) -> None:
    assert list(impatient(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "process.wait(30)",
        "self.process.wait(timeout=SECONDS)",
        "subprocess.run([], timeout=60)",
        "asyncio.timeout(10)",
        "time.monotonic() - started < SECONDS",
    ],
)
def test_a_bare_deadline_is_found(line: str) -> None:
    assert list(impatient(line)) == [f"line 1: {line}"]


@pytest.mark.parametrize(
    "line",
    [
        "process.wait(patient(30))",
        "run(timeout=patient(1))",
        "over.wait(0.2)",
        "asyncio.wait(x, timeout=0.5)",
    ],
)
def test_a_deadline_with_patience_and_a_pause_are_no_fault(line: str) -> None:
    assert list(impatient(line)) == []


def impatient(source: str) -> Iterator[str]:
    """What gives up after a number of seconds, or compares a time that was taken with one, whatever the patience is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call | ast.Compare) and any(map(is_bare, deadlines(node))):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def deadlines(node: ast.Call | ast.Compare) -> Iterator[ast.expr]:
    """What the call takes as its deadline, or how long something may have taken."""
    if isinstance(node, ast.Compare):
        is_a_time = ast.unparse(node.left).startswith("time.monotonic() -") and isinstance(
            node.ops[0], ast.Lt
        )
        yield from node.comparators if is_a_time else ()
        return
    name = ast.unparse(node.func)
    if name.rpartition(".")[2] in WAITS and not name.startswith("asyncio."):
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "timeout")
    if ".".join(name.split(".")[-2:]) in FIRST_IS_A_DEADLINE:
        yield from node.args[:1]


def is_bare(deadline: ast.expr) -> bool:
    """Whether the deadline is a number, or a constant that stands for one."""
    if isinstance(deadline, ast.Constant):
        return deadline.value is not None
    return isinstance(deadline, ast.Name) and deadline.id.isupper()


@pytest.mark.parametrize("path", BESIDE_REAL_PROGRAMS, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_program_inside_of_a_text_knows_no_patience_as_it_runs_elsewhere(path: Path) -> None:
    texts = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    assert not [text for text in texts if isinstance(text, str) and "patient(" in text]
