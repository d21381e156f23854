"""Servers in namespaces with rules of their own: quotas, ranges and policies for pods, which its Jobs have to satisfy, too."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from dev.database import ClusterPostgres
from dev.object_store import ClusterObjectStore
from tests.admission import a_policy
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import uids, wait_until_ready
from tests.kube_api import KubeApi
from tests.operator_fixtures import Team, a_class, a_team
from tracking_operator.kube.objects import Kind, KubeObject, register

pytest_plugins = ["tests.cluster_object_store", "tests.cluster_postgres"]

QUOTA = register(Kind("v1", "ResourceQuota", "resourcequotas"))
RANGE = register(Kind("v1", "LimitRange", "limitranges"))
SMALL = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
TIGHT = {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
NAMES_NO_USER = (
    "!has(object.spec.securityContext.runAsUser) && !has(object.spec.securityContext.fsGroup) && "
    "(object.spec.containers + object.spec.?initContainers.orValue([])).all("
    "one, !has(one.securityContext) || !has(one.securityContext.runAsUser))"
)
"""What a platform demands that gives each namespace its own range of users, and puts them into the pods."""
SECONDS_TO_START = 400.0
SECONDS_TO_SAY_SO = 60.0
SECONDS_TO_ROLL = 180.0


def rule(team: Team, kind: Kind, spec: KubeObject) -> None:
    """Make a rule for the pods of a namespace."""
    metadata = {"name": "rules", "namespace": team.namespace}
    team.api.create({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec})


def a_rule_for_pods(api: KubeApi, rules: str, expression: str, message: str) -> AbstractContextManager[None]:
    """A policy for new pods in all namespaces that are labelled ``rules``."""
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    matched = {"resourceRules": [pods], "namespaceSelector": {"matchLabels": {"rules": rules}}}
    checks = [{"expression": expression, "message": message}]
    return a_policy(api, f"pods-{rules}.example.com", {"matchConstraints": matched, "validations": checks})


@dataclass(frozen=True)
class Teams:
    """One namespace for each kind of rule."""

    quota: Team
    smallest: Team
    ratio: Team
    labelled: Team
    without_ids: Team

    def all(self) -> tuple[Team, ...]:
        """All of them."""
        return self.quota, self.smallest, self.ratio, self.labelled, self.without_ids


@dataclass(frozen=True)
class Classes:
    """Classes with a PostgreSQL and a bucket: servers have both kinds of Jobs.

    Each has a bucket of its own. On ext4 an attribute of a file has 4 KB, which is where versitygw keeps a bucket's policy: the
    statements of four servers.
    """

    first: str
    second: str
    without_ids: str
    """Its pods leave it to the platform as whom they run."""


@pytest.fixture(scope="module")
def classes(
    api: KubeApi,
    deployed: None,
    cluster_postgres: ClusterPostgres,
    cluster_object_store: ClusterObjectStore,
) -> Iterator[Classes]:
    def spec(bucket: str, **more: object) -> KubeObject:
        s3 = cluster_object_store.class_spec() | {"bucket": bucket}
        return {"postgres": cluster_postgres.class_spec(), "s3": s3, **more}

    with (
        a_class(api, spec("rules-first")) as first,
        a_class(api, spec("rules-second")) as second,
        a_class(api, spec("rules-third", podSecurity={"userIds": "Platform"})) as without_ids,
    ):
        yield Classes(first, second, without_ids)


@pytest.fixture(scope="module")
def teams(api: KubeApi, classes: Classes) -> Iterator[Teams]:
    """Servers in all of the namespaces, started together."""
    with (
        a_team(api, **RESTRICTED) as quota,
        a_team(api, **RESTRICTED) as smallest,
        a_team(api, **RESTRICTED) as ratio,
        a_team(api, **RESTRICTED, rules="labels") as labelled,
        a_team(api, **RESTRICTED, rules="user-ids") as without_ids,
        a_rule_for_pods(api, "user-ids", NAMES_NO_USER, "users are given by the platform"),
        a_rule_for_pods(
            api,
            "labels",
            "has(object.metadata.labels) && 'cost-center' in object.metadata.labels",
            "pods need the label cost-center",
        ),
    ):
        rule(quota, QUOTA, {"hard": {"limits.cpu": "2"}})
        rule(smallest, RANGE, {"limits": [{"type": "Container", "min": {"memory": "256Mi"}}]})
        ratios = {"cpu": "2", "memory": "2"}
        rule(ratio, RANGE, {"limits": [{"type": "Container", "maxLimitRequestRatio": ratios}]})
        quota.apply({"className": classes.first, "resources": SMALL})
        smallest.apply({"className": classes.first})
        ratio.apply({"className": classes.second, "resources": TIGHT})
        labels = {"podTemplate": {"labels": {"cost-center": "ml"}}}
        labelled.apply({"className": classes.second, "resources": SMALL, **labels})
        without_ids.apply({"className": classes.without_ids, "resources": SMALL})
        yield Teams(quota, smallest, ratio, labelled, without_ids)


def test_jobs_satisfy_what_the_pods_of_the_server_satisfy(teams: Teams) -> None:
    for team in teams.all():
        wait_until_ready(team, seconds=SECONDS_TO_START)


def test_a_roll_without_room_for_one_more_pod_says_what_helps_and_that_helps(teams: Teams) -> None:
    team = teams.quota
    wait_until_ready(team, seconds=SECONDS_TO_START)
    team.api.patch(QUOTA, team.namespace, "rules", {"spec": {"hard": {"limits.cpu": "1"}}})
    before = uids(team)

    team.patch_server({"spec": {"workers": 2}})

    told = team.wait_for_condition("WorkloadReady", reason="QuotaExceeded", seconds=SECONDS_TO_SAY_SO)
    assert "limits.cpu" in told["message"]
    assert "spec.podTemplate.rollout.strategy to StopFirst" in told["message"]
    team.patch_server({"spec": {"podTemplate": {"rollout": {"strategy": "StopFirst"}}}})
    wait_until_ready(team, seconds=SECONDS_TO_ROLL)
    assert not uids(team) & before


def test_a_job_that_gets_no_pod_says_so_in_the_words_of_the_api_server(
    teams: Teams, classes: Classes
) -> None:
    team = teams.labelled
    team.apply({"className": classes.second, "resources": SMALL}, "unlabelled")

    for type_ in ("SchemaReady", "ArtifactStoreReady"):
        told = team.wait_for_condition(
            type_, reason="PodRefused", name="unlabelled", seconds=SECONDS_TO_SAY_SO
        )
        assert "pods need the label cost-center" in told["message"]
    team.patch_server({"spec": {"podTemplate": {"labels": {"cost-center": "ml"}}}}, "unlabelled")
    wait_until_ready(team, "unlabelled", SECONDS_TO_START)
