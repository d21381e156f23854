"""A report says when its figures are not to be trusted."""

from bench.circumstances import load


def test_a_busy_machine_is_named() -> None:
    assert load(0.42, 2) == "0.4"
    assert load(2.1, 2).startswith("2.1; **other work was running")
