"""Settings come from the environment, with defaults that fit the manifests."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from tracking_operator.runtime.settings import OperatorSettings, SettingsError, read_settings
from tracking_operator.timings import Timings

REPOSITORY = Path(__file__).parents[3]


def test_defaults_serve_the_whole_cluster() -> None:
    settings = OperatorSettings()
    assert settings.namespace == "tracking-operator-system"
    assert settings.watch_namespaces == ()
    assert (settings.workers, settings.resync) == (8, 600.0)
    assert (settings.metrics_port, settings.health_port) == (8080, 8081)
    assert settings.cache_mebibytes == 64


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKING_OPERATOR_WATCH_NAMESPACES", "team-a, team-b,")
    monkeypatch.setenv("TRACKING_OPERATOR_LOG_LEVEL", "debug")
    monkeypatch.setenv("TRACKING_OPERATOR_CLUSTER_NAME", "prod")
    settings = OperatorSettings()
    assert settings.watch_namespaces == ("team-a", "team-b")
    assert settings.log_level == "DEBUG"
    assert settings.cluster_name == "prod"


@pytest.mark.parametrize(
    ("api_server", "said", "expected"),
    [
        ("10.96.0.1", None, ("IPv4",)),
        ("fd00::1", None, ("IPv6",)),
        ("", None, ("IPv4",)),
        ("fd00::1", "IPv4, IPv6", ("IPv4", "IPv6")),
    ],
)
def test_policies_name_addresses_of_the_family_of_the_api_servers(
    monkeypatch: pytest.MonkeyPatch, api_server: str, said: str | None, expected: tuple[str, ...]
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", api_server)
    if said is not None:
        monkeypatch.setenv("TRACKING_OPERATOR_IP_FAMILIES", said)
    assert OperatorSettings().ip_families == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IP_FAMILIES", "IPv5"),
        ("WORKERS", "0"),
        ("RESYNC", "0"),
        ("LOG_LEVEL", "LOUD"),
        ("METRICS_PORT", "x"),
    ],
)
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"TRACKING_OPERATOR_{name}", value)
    with pytest.raises(ValidationError):
        OperatorSettings()


def test_every_setting_is_described() -> None:
    assert all(field.description for field in OperatorSettings.model_fields.values())


def test_documents_name_settings_that_there_are() -> None:
    files = [
        REPOSITORY / "README.md",
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "manifests").rglob("*.yaml"),
    ]
    named = {
        (name.lower(), file.relative_to(REPOSITORY).as_posix())
        for file in files
        for name in re.findall(r"TRACKING_OPERATOR_([A-Z][A-Z_]*[A-Z])", file.read_text())
    }
    known = {*OperatorSettings.model_fields}
    assert {one for one in named if one[0] not in known and not one[0].startswith("test_")} == set()


def test_times_are_those_of_production_but_for_what_a_test_sets_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACKING_OPERATOR_TIMINGS", '{"without_a_new_session": 5}')
    assert read_settings().timings == replace(Timings(), without_a_new_session=5.0)


@pytest.mark.parametrize("value", ["5", '{"without_a_new_session": "soon"}', "{"])
def test_times_that_cannot_be_read_are_said(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKING_OPERATOR_TIMINGS", value)
    with pytest.raises(SettingsError, match="TRACKING_OPERATOR_TIMINGS"):
        read_settings()
