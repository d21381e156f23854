"""Argo CD's actions on servers: by the examples beside the scripts, and against what `kubectl tracking` writes."""

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from dev.argocd.__main__ import CUSTOMIZATIONS, FOLDER
from dev.argocd.examples import NORMALIZED, ServerLife
from dev.argocd.scripts import SERVER
from tests.argo_lua import ScriptError, Value, available, changed_by, merge_patch, script
from tracking_operator.api.labels_and_annotations import (
    GROUP,
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
    WAKE_ANNOTATION,
)
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.cli.backup import backup_of
from tracking_operator.cli.changes import Change
from tracking_operator.cli.cluster import CommandError
from tracking_operator.cli.rotate import rotation
from tracking_operator.cli.suspend import suspension
from tracking_operator.cli.wake import waking
from tracking_operator.kube.objects import KubeObject

ACTIONS = FOLDER / CUSTOMIZATIONS / GROUP / SERVER / "actions"
TESTS = yaml.safe_load((ACTIONS / "action_test.yaml").read_text())
DISCOVERY = script((ACTIONS / "discovery.lua").read_text())
BY_NAME = {path.parent.name: script(path.read_text()) for path in ACTIONS.glob("*/action.lua")}
TIMES = (ROTATE_CREDENTIALS_ANNOTATION, REVOKE_NOW_ANNOTATION, WAKE_ANNOTATION)

SPECS: tuple[KubeObject | None, ...] = (
    None,
    {},
    {"suspend": True},
    {"suspend": False},
    {"replicas": 0},
    {"replicas": 2, "suspend": True},
    {"replicas": 0, "suspend": True},
    {"replicas": 3, "podTemplate": {"tolerations": [{"key": "a", "operator": "Exists"}], "labels": {}}},
)
DATABASE = {"host": "pg.db.svc", "port": 5432, "name": "db", "role": "db"}
STATUSES: tuple[KubeObject | None, ...] = (
    None,
    {},
    {"database": DATABASE, "backendStore": {"kind": "postgres"}, "artifactStore": {"kind": "volume"}},
    {"backendStore": {"kind": "sqlite"}, "artifactStore": {"kind": "s3", "bucket": "b", "prefix": "p"}},
    {"backendStore": {"kind": "sqlite"}, "artifactStore": {"kind": "external"}, "loginRevision": "abc"},
    {"backendStore": {"kind": "sqlite"}, "artifactStore": {"kind": "volume"}, "loginRevision": ""},
    {"backendStore": {"kind": "sqlite"}, "artifactStore": {"kind": "volume"}},
    {"sleep": {"cause": "Idle", "since": "2026-01-01T10:00:00Z"}},
    {"sleep": {"woken": "once", "wokenAt": "2026-01-01T10:00:00Z"}},
)
ON_THE_CLASS: KubeObject = {
    "className": "standard",
    "version": "3.18.0",
    "backendStore": "postgres",
    "artifactStore": "s3",
}
ANNOTATIONS: tuple[KubeObject | None, ...] = (
    None,
    {},
    {"example.com/team": "a"},
    {ROTATE_CREDENTIALS_ANNOTATION: "once", REVOKE_NOW_ANNOTATION: "once"},
)


def servers() -> Iterator[KubeObject]:
    for spec, status, annotations in itertools.product(SPECS, STATUSES, ANNOTATIONS):
        resource = ServerLife().resource
        del resource["spec"]
        for place, value in (
            (resource, {"spec": spec, "status": status}),
            (resource["metadata"], {"annotations": annotations}),
        ):
            place.update({key: one for key, one in value.items() if one is not None})
        yield resource


def normalized(resource: Value) -> Value:
    """What Argo CD compares after an action: times that the action wrote say nothing."""
    if isinstance(resource, list):
        return [
            {"k8sOperation": one["operation"], "unstructuredObj": without_moment(one["resource"])}
            for one in resource
        ]
    annotations = resource["metadata"].get("annotations") or {}
    times = {name: NORMALIZED for name in TIMES if name in annotations}
    return resource | {
        "metadata": resource["metadata"] | ({"annotations": annotations | times} if times else {})
    }


def without_moment(made: Value) -> Value:
    """What an action has made, as if it had been in the year 1."""
    name = re.sub(r"-\d{8}-\d{6}$", "-00010101-000000", made["metadata"]["name"])
    return made | {"metadata": made["metadata"] | {"name": name}}


def read(path: str) -> Value:
    return yaml.safe_load((ACTIONS / path).read_text())


@pytest.mark.parametrize(
    "example", TESTS["actionTests"], ids=lambda one: f"{one['action']}-{Path(one['inputPath']).stem}"
)
def test_examples_are_changed_as_argo_cd_tests_them(example: dict[str, str]) -> None:
    changed = changed_by(BY_NAME[example["action"]], read(example["inputPath"]))
    assert normalized(changed) == read(example["expectedOutputPath"])


@pytest.mark.parametrize("example", TESTS["discoveryTests"], ids=lambda one: Path(one["inputPath"]).stem)
def test_examples_offer_what_argo_cd_tests(example: dict[str, Value]) -> None:
    offered = available(DISCOVERY, read(example["inputPath"]))
    assert sorted(offered, key=_name) == sorted(example["result"], key=_name)


def _name(action: dict[str, Value]) -> str:
    return str(action["name"])


def by_the_command(action: str, resource: KubeObject) -> Change:
    """What `kubectl tracking` does in the place of an action. Raises CommandError: it refuses."""
    server = TrackingServer.model_validate(resource)
    now = datetime.now(UTC)
    match action:
        case "suspend":
            return suspension(server)
        case "resume":
            return waking(server, 1, now)
        case "rotate":
            return rotation(server, now, at_once=False)
        case "revoke-now":
            return rotation(server, now, at_once=True)
    raise ValueError(action)


@pytest.mark.parametrize("action", sorted(BY_NAME.keys() - {"backup"}))
def test_an_action_writes_what_the_command_writes(action: str) -> None:
    compared = 0
    for resource in servers():
        disabled = {one["name"]: one["disabled"] for one in available(DISCOVERY, resource)}[action]
        try:
            change = by_the_command(action, resource)
        except CommandError as refused:
            assert disabled
            with pytest.raises(ScriptError) as raised:
                BY_NAME[action](resource)
            assert str(raised.value) == str(refused)
            continue
        patch = merge_patch(resource, changed_by(BY_NAME[action], resource))
        assert without_times(patch) == without_times(change.fields)
        assert disabled is (not change.fields)
        compared += 1
    assert compared > 50


def without_times(patch: KubeObject) -> KubeObject:
    """A patch of which only that it asks by a time, not by which."""
    annotations = patch.get("metadata", {}).get("annotations")
    return patch | {"metadata": {"annotations": sorted(annotations)}} if annotations else patch


@pytest.mark.parametrize(("action", "annotation"), [("rotate", TIMES[0]), ("revoke-now", TIMES[1])])
def test_asking_writes_the_time_of_this_moment(action: str, annotation: str) -> None:
    resource = read("testdata/awake.yaml")
    written = changed_by(BY_NAME[action], resource)["metadata"]["annotations"]
    (time,) = written.values()
    assert list(written) == [annotation]
    assert time.endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(time)) < timedelta(minutes=1)


REFUSING: dict[str, KubeObject] = {
    "new": {},
    "placed": {"placement": ON_THE_CLASS},
    "without_revision": {"placement": ON_THE_CLASS, "schemaRevision": ""},
    "on_sqlite": {"placement": ON_THE_CLASS | {"backendStore": "sqlite"}, "schemaRevision": "a"},
    "on_a_volume": {"placement": ON_THE_CLASS | {"artifactStore": "volume"}, "schemaRevision": "a"},
    "on_stores_of_others": {
        "placement": ON_THE_CLASS | {"backendStore": "external", "artifactStore": "external"},
        "schemaRevision": "a",
    },
}


def whether_backups_are_offered(resource: KubeObject) -> bool:
    (offered,) = (one for one in available(DISCOVERY, resource) if one["name"] == "backup")
    return not offered["disabled"]


@pytest.mark.parametrize("spec", [{}, {"suspend": True}, {"version": "3.18.0", "replicas": 2}])
def test_backup_makes_what_the_command_makes(spec: KubeObject) -> None:
    resource = read("testdata/awake.yaml") | {"spec": spec}
    before = datetime.now(UTC).replace(microsecond=0)
    (made,) = BY_NAME["backup"](resource)
    after = datetime.now(UTC)
    by_the_command = [
        backup_of(TrackingServer.model_validate(resource), before + timedelta(seconds=seconds))
        for seconds in range(int((after - before).total_seconds()) + 1)
    ]
    assert made["operation"] == "create"
    assert made["resource"] in by_the_command
    assert TrackingServerBackup.model_validate(made["resource"]).spec.server_ref.name == "mlflow"
    assert whether_backups_are_offered(resource)


def test_what_is_made_belongs_to_nobody_who_would_take_it_along() -> None:
    (made,) = BY_NAME["backup"](read("testdata/awake.yaml"))
    assert set(made["resource"]["metadata"]) == {"name", "namespace"}


@pytest.mark.parametrize("name", REFUSING)
def test_a_backup_that_would_never_be_complete_is_greyed_out_and_refused_in_the_commands_words(
    name: str,
) -> None:
    refused_with_the_same_words(read("testdata/awake.yaml") | {"status": REFUSING[name]})


def test_a_server_without_a_status_or_that_is_being_deleted_is_not_backed_up() -> None:
    awake = read("testdata/awake.yaml")
    refused_with_the_same_words({key: one for key, one in awake.items() if key != "status"})
    going = awake["metadata"] | {"deletionTimestamp": "2026-01-01T11:00:00Z"}
    refused_with_the_same_words(awake | {"metadata": going})


def refused_with_the_same_words(resource: KubeObject) -> None:
    assert not whether_backups_are_offered(resource)
    with pytest.raises(CommandError) as refused:
        backup_of(TrackingServer.model_validate(resource), datetime.now(UTC))
    with pytest.raises(ScriptError) as raised:
        BY_NAME["backup"](resource)
    assert str(raised.value) == str(refused.value)


def test_what_is_in_the_folders_is_what_is_offered() -> None:
    offered = {one["name"] for one in available(DISCOVERY, read("testdata/awake.yaml"))}
    assert offered == set(BY_NAME)
