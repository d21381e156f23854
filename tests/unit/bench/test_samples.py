"""Percentiles are never interpolated, and a maximum is not called a percentile."""

import pytest

from bench.samples import Samples, duration, ratio, verdict


def test_the_median_lies_in_the_middle() -> None:
    assert Samples.of([0.3, 0.1, 0.2]).median == 0.2
    assert Samples.of([0.4, 0.1, 0.2, 0.3]).median == pytest.approx(0.25)


def test_a_percentile_is_one_of_the_measured_values() -> None:
    samples = Samples.of([number / 1000 for number in range(200, 0, -1)])
    assert samples.percentile(99) == 0.198
    assert samples.percentile(100) == 0.2
    assert samples.percentile(50) == 0.1


def test_with_few_repetitions_the_worst_is_the_maximum_and_says_so() -> None:
    assert Samples.of([0.010, 0.030, 0.020]).worst == "max 30 ms"
    assert Samples.of([0.010] * 99 + [0.500]).worst == "p99 10 ms"


def test_no_repetitions_are_no_samples() -> None:
    with pytest.raises(ValueError, match="no repetitions"):
        Samples.of([])


@pytest.mark.parametrize("percent", [0, -1, 100.1])
def test_only_percentages_are_percentiles(percent: float) -> None:
    with pytest.raises(ValueError, match="no percentage"):
        Samples.of([1.0]).percentile(percent)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.00042, "0.4 ms"), (0.0042, "4.2 ms"), (0.0451, "45 ms"), (1.254, "1.25 s"), (12.34, "12.3 s")],
)
def test_durations_show_the_digits_that_matter(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_a_ratio_to_nothing_is_a_dash() -> None:
    assert ratio(0.010, 0.004) == "2.5 ×"
    assert ratio(0.010, 0.0) == "–"


def test_a_limit_may_be_reached_but_not_passed() -> None:
    assert verdict(0.050, 0.050, "50 ms") == "≤ 50 ms: met"
    assert verdict(0.051, 0.050, "50 ms") == "≤ 50 ms: **missed**"
