"""Measures that need no cluster make none, and say what they found."""

from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.measures.large_artifacts import MEBIBYTE, ThroughServer, large_artifacts_table
from bench.measures.releases import Starts, releases_table
from bench.measures.scrape import Scrapes, scrape_table
from bench.report import BEGIN, END, Table
from bench.samples import Samples
from bench.transfers import Transfers, throughputs
from dev.mlflow_process import Peak

TOOK = {
    "a upload": [4.0, 2.0, 3.0],
    "a download": [1.0, 1.0, 1.0],
    "straight upload": [1.0, 1.0, 1.0],
    "straight download": [1.0, 0.5, 2.0],
}


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a cluster fails."""
    monkeypatch.setattr(bench, "development_cluster", None)
    table = Table("Large artifacts", ("what", "seconds"), (("upload", "3"),))
    monkeypatch.setattr(bench, "WITHOUT_CLUSTER", {"large-artifacts": lambda: table})


@pytest.mark.usefixtures("no_cluster")
def test_a_measure_without_a_cluster_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["large-artifacts"]) == 0
    printed = capsys.readouterr().out
    assert "| upload | 3 |" in printed
    assert "Kubernetes" not in printed


@pytest.mark.usefixtures("no_cluster")
def test_its_table_is_written_with_its_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n\n- date: before\n\n{END}\n")
    monkeypatch.setattr(bench, "PAGE", page)
    assert bench.main(["large-artifacts", "--write"]) == 0
    written = page.read_text()
    assert "| upload | 3 |" in written
    assert "Measured again: 20" in written


def test_every_measure_without_a_cluster_has_a_name_for_the_command_line() -> None:
    assert set(bench.WITHOUT_CLUSTER) <= set(bench.MEASURES)


def test_each_way_of_a_server_stands_beside_the_straight_one() -> None:
    up, down = throughputs(TOOK, "a")
    assert (up.what, up.medians) == ("upload", (3.0, 1.0))
    assert (down.what, down.medians) == ("download", (1.0, 1.0))


def test_what_is_sent_is_told_to_the_client_as_plain_data() -> None:
    settings = Transfers("bucket", "prefix", 5, 3, {"a": {"NAME": "value"}}).settings()
    assert settings["servers"] == {"a": {"NAME": "value"}}
    assert settings["bytes"] == 5


def test_an_aim_that_was_missed_is_said() -> None:
    found = ThroughServer("a", throughputs(TOOK, "a"), Peak(100 * MEBIBYTE, 150 * MEBIBYTE))
    upload, download, memory = large_artifacts_table([found]).rows
    assert upload == ("upload, a", "3.00 s", "1.00 s", "3.0 ×", "≤ 2.2 ×: **missed**")
    assert download[3:] == ("1.0 ×", "≤ 2.2 ×: met")
    assert (memory[1], memory[-1]) == ("50 MiB", "≤ 100 MiB: met")


def test_a_scrape_is_told_with_its_aims_and_its_series() -> None:
    page = b"# TYPE a gauge\na 1\na 2\n"
    slow = Scrapes(1000, Samples.of([0.2] * 3), page, 2 * MEBIBYTE, 8 * MEBIBYTE, 0.01)
    many = Scrapes(5000, Samples.of([0.2]), page, MEBIBYTE, MEBIBYTE, 0.01)
    first, second = scrape_table([slow, many]).rows
    assert first[:2] == ("1,000", "2")
    assert first[-1] == "≤ 100 ms: **missed**, ≤ 10 MiB: met"
    assert second[-1] == ""


def test_releases_are_told_beside_the_oldest() -> None:
    older = Starts("1.0", Samples.of([10.0, 11.0, 12.0]), [400 * MEBIBYTE] * 3)
    newer = Starts("1.1", Samples.of([12.5, 12.5, 12.5]), [414 * MEBIBYTE] * 3)
    _, row = releases_table([older, newer]).rows
    assert row == ("1.1", "3", "12.5 s", "max 12.5 s", "+1.5 s", "414 MiB", "+14 MiB")
