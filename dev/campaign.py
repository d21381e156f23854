"""What the last `make campaign` found, written to docs/contributing/campaign.md.

`python -m dev.campaign REPORT…` reads pytest's own reports and ends with 1 when a test failed, or a report has none.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "contributing" / "campaign.md"
INTRODUCTION = """# The long tests

Some tests take long and seldom find what the others do not: random changes by everybody while the operator is killed, five
replicas at once, every page in a browser, artifacts of 2 GB. `make test` leaves them out; `make campaign` runs them and writes this page.
"""


@dataclass(frozen=True)
class LongTest:
    """One test of the campaign; `outcome` is passed, failed or skipped, `measured` what the test has recorded."""

    name: str
    outcome: str
    seconds: float
    measured: str = ""


def runs_in(report: str) -> Iterator[LongTest]:
    """Read a JUnit report, as pytest writes it."""
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314 — pytest on this machine wrote it
        failed = case.find("failure") is not None or case.find("error") is not None
        skipped = case.find("skipped") is not None
        outcome = "failed" if failed else "skipped" if skipped else "passed"
        module = case.attrib["classname"].rpartition(".")[2]
        recorded = (f"{one.attrib['name']}: {one.attrib['value']}" for one in case.iter("property"))
        yield LongTest(
            f"{module}: {case.attrib['name']}", outcome, float(case.attrib["time"]), "; ".join(recorded)
        )


def page(runs: Sequence[LongTest], *, commit: str, date: str) -> str:
    """The page with one row per test."""
    rows = [f"| `{run.name}` | {run.outcome} | {run.seconds:.0f} s | {run.measured} |" for run in runs]
    table = ["| test | outcome | time | measured |", "|---|---|---:|---|", *rows]
    return f"{INTRODUCTION}\nLast run: {date}, commit {commit}.\n\n" + "\n".join(table) + "\n"


def main(*reports: Path) -> int:
    """Write the page; return 1 when a test failed, or a report has none."""
    runs_of_reports = [list(runs_in(report.read_text(encoding="utf-8"))) for report in reports]
    runs = [run for of_report in runs_of_reports for run in of_report]
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    PAGE.write_text(page(runs, commit=commit, date=f"{datetime.now(UTC):%Y-%m-%d}"), encoding="utf-8")
    return 0 if all(runs_of_reports) and all(run.outcome == "passed" for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
