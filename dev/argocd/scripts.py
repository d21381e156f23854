"""The scripts in the form that Argo CD keeps its own in, and the ConfigMap that brings them into an Argo CD that is there.

The form is that of `resource_customizations/` in github.com/argoproj/argo-cd (docs/operator-manual/health.md and
resource_actions.md): a folder for each kind, with `health.lua` and `actions/`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from dev.chart.markup import Object
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import (
    API_VERSION,
    GROUP,
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
    WAKE_ANNOTATION,
)
from tracking_operator.controllers.conditions.condition_result import Verdict, verdict_on

SERVER: Final = "TrackingServer"
SERVER_CLASS: Final = "TrackingServerClass"
BACKUP: Final = "TrackingServerBackup"
CLIENT: Final = "TrackingServerClient"
KINDS: Final = (SERVER, SERVER_CLASS, BACKUP, CLIENT)
SOURCES: Final = Path(__file__).parent / "lua"
GENERATED: Final = "Generated from dev/argocd/ by `make generate`. Do not edit: changes will be lost.\n"


def scripts() -> dict[str, str]:
    """Each script, by its path below `resource_customizations/GROUP`."""
    asks = {
        "rotate": ("rotate", ROTATE_CREDENTIALS_ANNOTATION),
        "revoke-now": ("rotate --revoke-now", REVOKE_NOW_ANNOTATION),
    }
    made = {
        **{f"{kind}/health.lua": _script("health") for kind in KINDS},
        f"{SERVER}/actions/discovery.lua": _script("discovery"),
        **{f"{SERVER}/actions/{name}/action.lua": _script(name) for name in ("suspend", "resume", "backup")},
    }
    for name, (command, annotation) in asks.items():
        made[f"{SERVER}/actions/{name}/action.lua"] = _script("ask", COMMAND=command, ANNOTATION=annotation)
    return {path: f"-- {GENERATED}\n{text}" for path, text in made.items()}


def _script(name: str, **words: str) -> str:
    text = _source(name)
    shared = {name.upper(): _source(name).rstrip() for name in ("has_credentials", "why_no_backup", "sleeps")}
    known = {
        "WORKING": _working(),
        "API_VERSION": API_VERSION,
        "WAKE_ANNOTATION": WAKE_ANNOTATION,
        **shared,
        **words,
    }
    for word, value in known.items():
        text = text.replace(f"@{word}@", value)
    return text


def _source(name: str) -> str:
    return (SOURCES / f"{name}.lua").read_text()


def _working() -> str:
    """The reasons with which the operator is at work, as the members of a table."""
    reasons = [reason for reason in Reason if verdict_on(reason) is Verdict.WORKING]
    return "\n".join(f"  {reason.value} = true," for reason in reasons)


def config_map(made: Mapping[str, str]) -> Object:
    """The part of Argo CD's ConfigMap `argocd-cm` that holds the scripts (docs/operator-manual/argocd-cm-yaml.md there)."""
    settings = {
        f"resource.customizations.health.{GROUP}_{kind}": made[f"{kind}/health.lua"] for kind in KINDS
    }
    settings[f"resource.customizations.actions.{GROUP}_{SERVER}"] = literal_yaml(_actions(made))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "namespace": "argocd"},
        "data": settings,
    }


def _actions(made: Mapping[str, str]) -> Object:
    folder = f"{SERVER}/actions/"
    names = [path.split("/")[2] for path in made if path.startswith(folder) and path.endswith("/action.lua")]
    return {
        "discovery.lua": made[f"{folder}discovery.lua"],
        "definitions": [{"name": name, "action.lua": made[f"{folder}{name}/action.lua"]} for name in names],
    }


class _LiteralDumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, so that a script can be read in the ConfigMap."""

    def ignore_aliases(self, data: object) -> bool:
        """Write everything out."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_LiteralDumper.add_representer(str, _text)


def literal_yaml(value: object) -> str:
    """YAML in which a script is a block."""
    return yaml.dump(value, Dumper=_LiteralDumper, sort_keys=False, width=120, allow_unicode=True)
