"""The programs of pods on a real API server: shared in a namespace, kept over an upgrade, repaired, and not left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from dev.development_cluster import DevelopmentCluster
from tests.operator_fixtures import OPERATOR_NAMESPACE, OperatorHost, RunningOperator, Team
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import TOOLS_FILE
from tracking_operator.isolation.attempts import Row
from tracking_operator.isolation.by_api import pod_programs
from tracking_operator.isolation.by_api.scene import ApiScene
from tracking_operator.isolation.in_pod.scene import Side
from tracking_operator.isolation.pods import Attacker
from tracking_operator.isolation.runner import a_tenant, seen_of
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, KubeObject, name_of
from tracking_operator.resources.pod.tools import in_former_layout, tools_of, with_tools
from tracking_operator.resources.tools_archive import (
    archive_of,
    build_tools_config_map,
    current_archive,
    is_tools_name,
    own_sources,
)

CURRENT = current_archive()
EARLIER = archive_of(own_sources() | {"of_an_earlier_release.py": b""})
SUSPENDED = {"suspend": True}
SECONDS_TO_REPAIR = 5.0
SECONDS_TO_COLLECT = 60.0
OTHER_WORKERS = {"spec": {"workers": 3}}


def archives(team: Team) -> set[str]:
    return {name for one in team.api.list(CONFIG_MAP, team.namespace) if is_tools_name(name := name_of(one))}


def template_of(team: Team, name: str = "mlflow") -> KubeObject:
    template: KubeObject = team.get(DEPLOYMENT, name)["spec"]["template"]
    return template


def wait_for_archives(team: Team, *names: str) -> None:
    wait_until(
        lambda: archives(team) == set(names), SECONDS_TO_COLLECT, lambda: f"{archives(team)} are {names}"
    )


def put_earlier_archive(team: Team) -> None:
    config_map = build_tools_config_map(team.namespace)
    metadata = config_map["metadata"] | {"name": EARLIER.name}
    team.api.create(config_map | {"metadata": metadata, "binaryData": {TOOLS_FILE: EARLIER.text}})


def replace_template(team: Team, deployment: KubeObject) -> None:
    operations = [{"op": "replace", "path": "/spec/template", "value": deployment["spec"]["template"]}]
    team.api.json_patch(DEPLOYMENT, team.namespace, "mlflow", operations)


@contextmanager
def meanwhile(operators: OperatorHost) -> Iterator[None]:
    """While the block runs there is no operator; before it and after it there is one."""
    operators.make_room()
    yield
    operators.share()


@pytest.fixture
def server_of_an_earlier_release(team: Team, operators: OperatorHost) -> None:
    """One whose pods were made by another release than the one that runs now."""
    operators.share()
    team.made(SUSPENDED)
    with meanwhile(operators):
        put_earlier_archive(team)
        replace_template(team, with_tools(team.get(DEPLOYMENT), EARLIER.name))
        team.api.delete(CONFIG_MAP, team.namespace, CURRENT.name)


def test_the_servers_of_a_namespace_share_one_archive_that_nobody_owns(
    team: Team, operator: RunningOperator
) -> None:
    team.made(SUSPENDED)
    team.made(SUSPENDED, "another")
    assert archives(team) == {CURRENT.name}
    assert {tools_of(team.get(DEPLOYMENT, name)) for name in ("mlflow", "another")} == {CURRENT.name}
    live = team.get(CONFIG_MAP, CURRENT.name)
    assert live["immutable"] is True
    assert "ownerReferences" not in live["metadata"]


def test_the_last_server_takes_the_archive_with_it(team: Team, operator: RunningOperator) -> None:
    team.made(SUSPENDED)
    team.made(SUSPENDED, "another")
    team.delete_server("another")
    team.wait_until_gone(DEPLOYMENT, "another")
    assert archives(team) == {CURRENT.name}
    team.delete_server()
    wait_for_archives(team)


@pytest.mark.usefixtures("server_of_an_earlier_release")
def test_an_upgrade_rolls_nobody_and_new_servers_get_the_new_archive(team: Team) -> None:
    before = template_of(team)
    team.made(SUSPENDED, "new")
    assert tools_of(team.get(DEPLOYMENT, "new")) == CURRENT.name
    team.patch_server({"metadata": {"annotations": {"example.com/looked-at": "again"}}})
    team.patch_server({"spec": {"replicas": 1}})
    team.settled()
    assert template_of(team) == before
    assert archives(team) == {EARLIER.name, CURRENT.name}


@pytest.mark.usefixtures("server_of_an_earlier_release")
def test_a_server_that_changes_gets_the_new_archive_and_the_unused_one_goes(team: Team) -> None:
    team.patch_server(OTHER_WORKERS)
    team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: tools_of(live) == CURRENT.name, "it has the new programs"
    )
    wait_for_archives(team, CURRENT.name)


@pytest.mark.parametrize("immutable", [True, False], ids=["immutable", "changeable"])
def test_other_bytes_under_its_name_are_replaced_and_nobody_is_rolled(
    immutable: bool, team: Team, operators: OperatorHost
) -> None:
    operators.share()
    team.made(SUSPENDED)
    before = template_of(team)
    right = team.get(CONFIG_MAP, CURRENT.name)
    with meanwhile(operators):
        team.api.delete(CONFIG_MAP, team.namespace, CURRENT.name)
        evil = build_tools_config_map(team.namespace) | {
            "binaryData": {TOOLS_FILE: "ZXZpbA=="},
            "immutable": immutable,
        }
        team.api.create(evil)
    team.wait_until_so(
        CONFIG_MAP,
        CURRENT.name,
        lambda live: live["binaryData"] == right["binaryData"] and live.get("immutable"),
        "the archive is as its name says",
    )
    assert template_of(team) == before


def test_what_somebody_puts_into_its_place_while_the_operator_runs_is_replaced(
    team: Team, operator: RunningOperator
) -> None:
    team.made(SUSPENDED)
    right = team.get(CONFIG_MAP, CURRENT.name)
    held = {"metadata": {"finalizers": ["example.com/held"]}}
    team.patch(CONFIG_MAP, held, CURRENT.name)
    team.api.delete(CONFIG_MAP, team.namespace, CURRENT.name)
    team.patch(CONFIG_MAP, {"metadata": {"finalizers": None}}, CURRENT.name)
    uid = right["metadata"]["uid"]
    again = team.wait_until_so(
        CONFIG_MAP, CURRENT.name, lambda live: live["metadata"]["uid"] != uid, "it is made again"
    )
    assert again["binaryData"] == right["binaryData"]


@pytest.mark.usefixtures("server_of_an_earlier_release")
def test_a_server_whose_earlier_archive_is_not_what_its_name_says_gets_the_new_one(
    team: Team, operators: OperatorHost
) -> None:
    with meanwhile(operators):
        team.api.delete(CONFIG_MAP, team.namespace, EARLIER.name)
        config_map = build_tools_config_map(team.namespace)
        metadata = config_map["metadata"] | {"name": EARLIER.name}
        team.api.create(config_map | {"metadata": metadata, "binaryData": {TOOLS_FILE: "ZXZpbA=="}})
    team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: tools_of(live) == CURRENT.name, "it has the new programs"
    )
    wait_for_archives(team, CURRENT.name)


def test_a_server_from_before_the_archive_goes_on_until_it_changes(
    team: Team, operators: OperatorHost
) -> None:
    operators.share()
    team.made(SUSPENDED)
    with meanwhile(operators):
        client = team.get(CONFIG_MAP, "mlflow-client")
        kept = {key: client["metadata"][key] for key in ("namespace", "labels", "ownerReferences")}
        scripts = client | {"metadata": kept | {"name": "mlflow-check"}, "data": {"start_server.py": "…"}}
        team.api.create(scripts)
        replace_template(team, in_former_layout(team.get(DEPLOYMENT), "mlflow-check"))
        team.api.delete(CONFIG_MAP, team.namespace, CURRENT.name)
    before = template_of(team)
    team.made(SUSPENDED, "new")
    team.patch_server({"spec": {"replicas": 1}})
    team.settled()
    assert template_of(team) == before
    assert team.find(CONFIG_MAP, "mlflow-check")

    team.patch_server(OTHER_WORKERS)
    team.wait_until_so(
        DEPLOYMENT,
        "mlflow",
        lambda live: tools_of(live) == CURRENT.name,
        "it has its programs from the archive",
    )
    team.wait_until_gone(CONFIG_MAP, "mlflow-check")


@pytest.mark.parametrize("attempt", pod_programs.BOOK.acts)
async def test_what_a_team_tries_with_the_programs_of_its_pods_is_refused_or_undone(
    attempt: str, team: Team, operator: RunningOperator, cluster: DevelopmentCluster
) -> None:
    team.made(SUSPENDED)
    row, act = pod_programs.BOOK.acts[attempt]
    own = Side(team.namespace, "mlflow")
    async with (
        await KubeClient.connect(cluster.kubeconfig_path) as platform,
        a_tenant(platform, team.namespace) as tenant,
    ):
        nobody = cast(Attacker, None)
        scene = ApiScene(tenant, platform, own, own, "", OPERATOR_NAMESPACE, pods=nobody)
        seen = await seen_of(act, scene)
    assert Row(row, seen).is_as_expected, seen
    assert archives(team) == {CURRENT.name}
    assert team.get(CONFIG_MAP, CURRENT.name)["binaryData"] == {TOOLS_FILE: CURRENT.text}
