"""What a machine's network needs reaches the build, as secrets, and only where the machine needs it."""

from pathlib import Path

import pytest

from dev.images.machine import build_secrets, certificates, index_settings, pip_configuration

INDEX = "https://packages.example/simple"


def test_a_plain_machine_gives_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dev.images.machine.EXTRA_CERTIFICATES", tmp_path)
    assert certificates({}, bundle=tmp_path / "none", extra=tmp_path) is None
    assert index_settings({}, {}) == {}


def test_extra_authorities_of_the_machine_bring_its_whole_bundle(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.crt"
    bundle.touch()
    (tmp_path / "extra").mkdir()
    assert certificates({}, bundle, tmp_path / "extra") is None
    (tmp_path / "extra/company.crt").touch()
    assert certificates({}, bundle, tmp_path / "extra") == bundle


def test_a_bundle_named_by_the_environment_comes_first(tmp_path: Path) -> None:
    named = tmp_path / "named.crt"
    named.touch()
    assert certificates({"SSL_CERT_FILE": str(named)}, tmp_path / "none", tmp_path) == named


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"])
def test_an_index_that_one_tool_knows_serves_both(name: str) -> None:
    assert index_settings({name: INDEX}, {}) == {"UV_DEFAULT_INDEX": INDEX, "PIP_INDEX_URL": INDEX}


def test_pips_own_configuration_counts_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(f"[global]\nindex-url = {INDEX}\n")
    found = pip_configuration([str(file), str(tmp_path / "none.conf")])
    assert index_settings({}, found)["UV_DEFAULT_INDEX"] == INDEX
    assert index_settings({"UV_DEFAULT_INDEX": "https://other.example"}, found)["PIP_INDEX_URL"] == (
        "https://other.example"
    )


def test_secrets_are_shell_assignments_that_do_not_outlive_the_build(tmp_path: Path) -> None:
    environment = {"PIP_INDEX_URL": "https://me:a'b c@packages.example", "SSL_CERT_FILE": "/none"}
    with build_secrets(tmp_path, environment) as secrets:
        assert set(secrets) == {"index"}
        assert "PIP_INDEX_URL='https://me:a'\"'\"'b c@packages.example'\n" in secrets["index"].read_text()
    assert not secrets["index"].exists()
