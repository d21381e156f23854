"""The command line of the isolation check, as far as it needs no cluster."""

import pytest

from tracking_operator.cli.operator_program import main
from tracking_operator.isolation.runner import all_attempts


def test_the_attempts_are_listed_without_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "isolation", "--list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in printed] == [one.id for one in all_attempts(harmful=False)]


def test_class_and_both_namespaces_have_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "isolation", "--namespace", "team-a"]) == 2
    assert "--class NAME --namespace A --against B" in capsys.readouterr().err


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "isolation", "--help"])
    printed = capsys.readouterr().out
    assert "tracking-operator check isolation --class standard --namespace team-a --against team-b" in printed
