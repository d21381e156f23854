"""The page about the long tests says what pytest reported."""

from pathlib import Path

import pytest

from dev import campaign

REPORT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite>
<testcase classname="tests.cluster.test_operator_chaos" name="test_random[20]" time="61.4">
<properties><property name="seconds" value="60" /><property name="looks" value="7" /></properties></testcase>
<testcase classname="tests.e2e.test_own_database" name="test_five" time="2.0"><failure message="no">no</failure></testcase>
<testcase classname="tests.e2e.test_browser" name="test_chart" time="0"><skipped message="no">no</skipped></testcase>
</testsuite></testsuites>"""


def test_each_test_is_told_with_outcome_time_what_it_recorded_date_and_commit() -> None:
    written = campaign.page(list(campaign.runs_in(REPORT)), commit="abc1234", date="2026-01-02")
    assert "Last run: 2026-01-02, commit abc1234." in written
    assert "| `test_operator_chaos: test_random[20]` | passed | 61 s | seconds: 60; looks: 7 |" in written
    assert "| `test_own_database: test_five` | failed | 2 s |  |" in written
    assert "| `test_browser: test_chart` | skipped | 0 s |  |" in written


@pytest.mark.parametrize("report", [REPORT, "<testsuites></testsuites>"])
def test_a_failed_test_and_no_test_at_all_fail_the_campaign(
    report: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "PAGE", tmp_path / "page.md")
    (tmp_path / "report.xml").write_text(report)
    assert campaign.main(tmp_path / "report.xml") == 1


PASSED = """<testsuites><testsuite>
<testcase classname="tests.stores.test_large_artifacts" name="test_two" time="7"/></testsuite></testsuites>"""


@pytest.mark.parametrize(("other", "code"), [(PASSED, 0), (REPORT, 1), ("<testsuites></testsuites>", 1)])
def test_every_report_counts(other: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "PAGE", tmp_path / "page.md")
    for name, report in (("large.xml", PASSED), ("other.xml", other)):
        (tmp_path / name).write_text(report)
    assert campaign.main(tmp_path / "large.xml", tmp_path / "other.xml") == code
    assert "`test_large_artifacts: test_two`" in (tmp_path / "page.md").read_text()
