"""Bad input gets a sentence: from kubectl where the API server can know, else a condition and one Event.

Whatever ran before goes on running as it was.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import yaml

from dev.classes import generous
from dev.development_cluster import DevelopmentCluster
from tests.kube_api import Refused
from tests.mlflow_versions import NEWEST_MIGRATION
from tests.operator_fixtures import (
    OperatorCalls,
    RunningOperator,
    Team,
    a_class,
    a_team,
)
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    SECRET,
    KubeObject,
)

SECONDS_TO_SAY_SO = 5.0
SECONDS_TO_NOTICE_A_SECRET = 20.0
MIGRATION = NEWEST_MIGRATION
"""The Job without which no pod starts on a database."""

DATABASE = {"backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}}}
BUCKET = {"external": {"uri": "s3://bucket/path", "credentialsSecretRef": {"name": "keys"}}}


@dataclass(frozen=True)
class Typo:
    """A manifest that the API server refuses, and the words by which it says why."""

    what: str
    manifest: str
    words: tuple[str, ...]


def server(spec: str, name: str = "mlflow") -> str:
    return f"apiVersion: tracking-operator.dev/v1alpha1\nkind: TrackingServer\nmetadata: {{name: {name}}}\nspec: {spec}\n"


TYPOS = [
    Typo("an unknown field", server("{replica: 2}"), ('unknown field "spec.replica"',)),
    Typo("an unknown field below", server("{podTemplate: {nodeselector: {a: b}}}"),
         ('unknown field "spec.podTemplate.nodeselector"',)),
    Typo("a malformed size", server("{backendStore: {sqlite: {size: 10GB}}}"),
         ("spec.backendStore.sqlite.size",)),
    Typo("a malformed amount of memory", server("{resources: {limits: {memory: lots}}}"), ("spec.resources.limits",)),
    Typo("a malformed version", server("{version: latest}"), ("spec.version",)),
    Typo("two backend stores", server("{backendStore: {sqlite: {}, external: {uriSecretRef: {name: a, key: b}}}}"),
         ("backendStore has more than one of postgres, sqlite and external", "remove the others")),
    Typo("two artifact stores", server("{artifactStore: {volume: {}, external: {uri: 's3://a'}}}"),
         ("artifactStore has more than one of s3, external and volume", "remove the others")),
    Typo("a name of 200 characters", server("{}", "a" * 200), ("metadata.name may have at most 40 characters",)),
    Typo("the name default", server("{}", "default"), ("metadata.name may not be default",)),
    Typo("more replicas than SQLite allows", server("{replicas: 3, backendStore: {sqlite: {}}}"),
         ("replicas must be 0 or 1 with backendStore.sqlite",)),
    Typo("a variable of the operator", server("{podTemplate: {env: [{name: MLFLOW_BACKEND_STORE_URI, value: a}]}}"),
         ("podTemplate.env may not set MLFLOW_BACKEND_STORE_URI",)),
]  # fmt: skip


def test_what_is_wrong_stands_in_its_condition_and_in_the_summary_alone(
    team: Team, operator: RunningOperator, cluster: DevelopmentCluster
) -> None:
    team.apply({"version": "9.9.9"})
    said = team.wait_for_condition("SpecValid", status="False", reason="VersionNotOffered")["message"]
    wait_until(team.warnings, 5, "an Event")

    conditions = team.server()["status"]["conditions"]
    assert {one["type"] for one in conditions if said in one["message"]} == {"SpecValid", "Ready"}
    assert team.condition("Stalled")["message"].startswith("SpecValid is not true")  # type: ignore[index]
    described = cluster.kubectl("describe", "trackingserver", "mlflow", "--namespace", team.namespace)
    assert described.count(said) == 3, "its condition, the summary, and the Event"


@pytest.mark.parametrize("typo", TYPOS, ids=lambda typo: typo.what)
def test_what_the_api_server_can_know_is_refused_by_kubectl_with_a_sentence(
    typo: Typo, team: Team, cluster: DevelopmentCluster
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        cluster.kubectl("create", "--validate=strict", "-n", team.namespace, "-f", "-", stdin=typo.manifest)
    for words in typo.words:
        assert words in refusal.value.stderr


@dataclass(frozen=True)
class Mistake:
    """A specification that only the operator can see through, and what it says about it."""

    what: str
    spec: KubeObject
    reason: str
    words: tuple[str, ...]
    class_spec: KubeObject | None = None
    """The class that the server names; None: it names none."""
    condition: str = "SpecValid"
    namespace_labels: dict[str, str] = field(default_factory=dict)


ONE_VERSION = {"versions": [{"version": "3.17.2", "image": "registry.invalid/mlflow:3.17.2"}]}

MISTAKES = [
    Mistake("a version that nobody offers", {"version": "9.9.9"}, "VersionNotOffered", ("9.9.9", "3.17.2")),
    Mistake("a version that the class does not offer", {"version": "3.16.1"}, "VersionNotOffered", ("3.17.2",),
            {"mlflow": ONE_VERSION}),
    Mistake("a class that does not exist", {"className": "no-such-class"}, "ClassNotFound", ("'no-such-class'",)),
    Mistake("a namespace that the class is not for", {}, "NamespaceNotAllowed", ("allowedNamespaces",),
            {"allowedNamespaces": {"matchLabels": {"mlflow": "true"}}}),
    Mistake("an image of one's own", {"image": "my/mlflow:1", "version": "3.18.0"}, "NotPermitted",
            ("spec.image", "permissions.customImages"), {"permissions": {"customImages": False}}),
    Mistake("an external database", DATABASE, "NotPermitted",
            ("spec.backendStore.external", "permissions.externalStores"), {"permissions": {"externalStores": False}}),
    Mistake("an external bucket", {"artifactStore": BUCKET}, "NotPermitted",
            ("spec.artifactStore.external", "permissions.externalStores"), {"permissions": {"externalStores": False}}),
    Mistake("the deletion of data", {"deletionPolicy": "Delete"}, "NotPermitted",
            ("deletionPolicy", "permissions.deletionPolicyDelete"), {"permissions": {"deletionPolicyDelete": False}}),
    Mistake("an identity in the cloud", {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "a"}}},
            "NotPermitted", ("eks.amazonaws.com/role-arn", "permissions.serviceAccountAnnotations"), {}),
    Mistake("a node of one's own choice", {"podTemplate": {"nodeSelector": {"a": "b"}}}, "NotPermitted",
            ("spec.podTemplate.nodeSelector", "scheduling"), {"permissions": {"podTemplate": {"scheduling": False}}}),
    Mistake("a variable", {"podTemplate": {"env": [{"name": "A", "value": "b"}]}}, "NotPermitted",
            ("spec.podTemplate.env",), {"permissions": {"podTemplate": {"env": False}}}),
    Mistake("a priority", {"podTemplate": {"priorityClassName": "system-cluster-critical"}}, "NotPermitted",
            ("priorityClassNames",), {}),
    Mistake("too many replicas", {"replicas": 3, "artifactStore": BUCKET, **DATABASE}, "LimitExceeded",
            ("spec.replicas is 3", "allows 2"), {"limits": {"maxReplicas": 2}}),
    Mistake("too much memory", {"resources": {"limits": {"memory": "2Gi"}}}, "LimitExceeded",
            ("spec.resources.limits.memory is 2Gi", "allows 1Gi"), {"limits": {"maxResources": {"memory": "1Gi"}}}),
    Mistake("too many servers", {}, "LimitExceeded", ("allows 0",), {"limits": {"maxServersPerNamespace": 0}}),
    Mistake("a template that yields no path", {}, "InvalidSpec", ("naming.path",), {"naming": {"path": "{{ name }}"}}),
    Mistake("a Secret that is missing", DATABASE, "SecretNotFound", ("'db'", "uriSecretRef"),
            condition="BackendStoreReady"),
    Mistake("keys that are missing", {"artifactStore": BUCKET}, "SecretNotFound", ("'keys'", "credentialsSecretRef"),
            condition="ArtifactStoreReady"),
]  # fmt: skip


@contextmanager
def class_of(mistake: Mistake, team: Team) -> Iterator[KubeObject]:
    """The specification with the class that the mistake needs."""
    if mistake.class_spec is None:
        yield mistake.spec
    else:
        with a_class(team.api, mistake.class_spec) as name:
            yield mistake.spec | {"className": name}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_what_only_the_operator_can_see_becomes_a_condition_and_one_event(
    mistake: Mistake, team: Team, operator: RunningOperator
) -> None:
    with class_of(mistake, team) as spec:
        team.apply(spec)

        condition = team.wait_for_condition(
            mistake.condition, status="False", reason=mistake.reason, seconds=SECONDS_TO_SAY_SO
        )
        for words in mistake.words:
            assert words in condition["message"]
        assert team.wait_for_condition("Ready", status="False")["reason"] == mistake.reason
        events = wait_until(team.warnings, SECONDS_TO_SAY_SO, "an Event")
        assert [(event["reason"], event["message"]) for event in events] == [
            (mistake.reason, condition["message"])
        ]
        assert team.find(DEPLOYMENT) is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": "9.9.9"},
        {"image": "my/mlflow:1", "version": "3.18.0"},
        {"podTemplate": {"priorityClassName": "system-cluster-critical"}},
    ],
    ids=["version", "image", "priority"],
)
def test_a_refused_change_leaves_what_runs_as_it_is(
    change: KubeObject, team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    team.made(running())
    before = team.get(DEPLOYMENT)["spec"]
    calls.mark()

    team.patch_server({"spec": change})

    team.wait_for_condition("SpecValid", status="False", seconds=SECONDS_TO_SAY_SO)
    team.wait_for_condition("Stalled", status="True")
    wait_until(team.warnings, SECONDS_TO_SAY_SO, "an Event")
    assert team.get(DEPLOYMENT)["spec"] == before
    assert {call.resource for call in calls.writes(team.namespace)} == {"trackingservers"}
    team.patch_server({"spec": dict.fromkeys(change)})
    team.wait_for_condition("SpecValid", status="True")


def test_a_class_that_disappears_leaves_what_runs_as_it_is(
    team: Team, operator: RunningOperator, calls: OperatorCalls
) -> None:
    with a_class(team.api, {}) as name:
        team.made(running() | {"className": name})
        before = team.get(DEPLOYMENT)["spec"]
        calls.mark()

    team.wait_for_condition("SpecValid", status="False", reason="ClassNotFound", seconds=SECONDS_TO_SAY_SO)
    assert team.get(DEPLOYMENT)["spec"] == before
    assert {call.resource for call in calls.writes(team.namespace)} == {"trackingservers"}
    team.api.create(
        {
            "apiVersion": "tracking-operator.dev/v1alpha1",
            "kind": "TrackingServerClass",
            "metadata": {"name": name},
            "spec": generous({}),
        }
    )
    team.wait_for_condition("SpecValid", status="True", seconds=SECONDS_TO_SAY_SO)
    team.api.delete(TRACKING_SERVER_CLASS, None, name)


def test_a_class_that_appears_later_is_used_at_once(team: Team, operator: RunningOperator) -> None:
    team.apply({"suspend": True, "className": "yet-to-come"})
    team.wait_for_condition("SpecValid", reason="ClassNotFound")

    team.api.create(
        {
            "apiVersion": "tracking-operator.dev/v1alpha1",
            "kind": "TrackingServerClass",
            "metadata": {"name": "yet-to-come"},
            "spec": generous({}),
        }
    )

    team.wait_for_condition("SpecValid", status="True", seconds=SECONDS_TO_SAY_SO)
    team.api.delete(TRACKING_SERVER_CLASS, None, "yet-to-come")


def test_two_default_classes_are_named_and_none_is_chosen(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True}, "before")

    with a_class(team.api, {}, is_default=True) as one:
        with a_class(team.api, {}, is_default=True) as other:
            team.apply({"suspend": True}, "after")

            condition = team.wait_for_condition(
                "SpecValid",
                status="False",
                reason="MultipleDefaultClasses",
                name="after",
                seconds=SECONDS_TO_SAY_SO,
            )
            assert one in condition["message"]
            assert other in condition["message"]
            assert team.condition("SpecValid", "before")["status"] == "True"  # type: ignore[index]
        team.wait_for_condition("SpecValid", status="True", name="after", seconds=SECONDS_TO_SAY_SO)


def test_labelling_the_namespace_is_enough_to_be_allowed(operator: RunningOperator, team: Team) -> None:
    with a_class(team.api, {"allowedNamespaces": {"matchLabels": {"mlflow": "true"}}}) as name:
        team.apply({"suspend": True, "className": name})
        team.wait_for_condition("SpecValid", reason="NamespaceNotAllowed")

        team.api.patch(NAMESPACE, None, team.namespace, {"metadata": {"labels": {"mlflow": "true"}}})

        team.wait_for_condition("SpecValid", status="True", seconds=SECONDS_TO_SAY_SO)


def test_the_older_servers_keep_their_place_and_a_freed_one_is_taken(
    team: Team, operator: RunningOperator
) -> None:
    with a_class(team.api, {"limits": {"maxServersPerNamespace": 1}}) as name:
        spec = {"suspend": True, "className": name}
        team.made(spec, "first")
        team.apply(spec, "second")
        team.wait_for_condition("SpecValid", reason="LimitExceeded", name="second")
        assert team.condition("SpecValid", "first")["status"] == "True"  # type: ignore[index]

        team.delete_server("first")

        team.wait_for_condition("SpecValid", status="True", name="second", seconds=SECONDS_TO_SAY_SO)


def test_a_missing_secret_that_is_created_is_noticed_by_itself(team: Team, operator: RunningOperator) -> None:
    team.apply(DATABASE | running())
    team.wait_for_condition("BackendStoreReady", reason="SecretNotFound")

    create_secret(team, {"uri": "sqlite:////tmp/a.db"})

    team.wait_for(JOB, MIGRATION, SECONDS_TO_NOTICE_A_SECRET)
    wait_until(
        lambda: (team.condition("BackendStoreReady") or {}).get("reason") != "SecretNotFound",
        SECONDS_TO_SAY_SO,
        "the condition is over",
    )


@pytest.mark.parametrize("key", ["other", "uri"], ids=["no such key", "an empty value"])
def test_a_secret_without_the_key_is_named_and_its_correction_noticed(
    key: str, team: Team, operator: RunningOperator
) -> None:
    create_secret(team, {key: ""}, watched=True)
    team.apply(DATABASE | running())
    condition = team.wait_for_condition(
        "BackendStoreReady", reason="SecretKeyMissing", seconds=SECONDS_TO_SAY_SO
    )
    assert "'uri'" in condition["message"]
    assert [event["reason"] for event in wait_until(team.warnings, SECONDS_TO_SAY_SO, "an Event")] == [
        "SecretKeyMissing"
    ]

    team.patch(SECRET, {"stringData": {"uri": "sqlite:////tmp/a.db"}}, "db")

    team.wait_for(JOB, MIGRATION, 2)


def test_a_labelled_secret_is_noticed_at_once(team: Team, operator: RunningOperator) -> None:
    team.apply(DATABASE | running())
    team.wait_for_condition("BackendStoreReady", reason="SecretNotFound")

    create_secret(team, {"uri": "sqlite:////tmp/a.db"}, watched=True)

    team.wait_for(JOB, MIGRATION, 2)


def test_a_change_of_a_labelled_secret_rolls_the_pods(team: Team, operator: RunningOperator) -> None:
    create_secret(team, {"uri": "sqlite:////tmp/a.db"}, watched=True)
    team.apply(DATABASE | running())
    team.end_migration(team.migration_pod(), revision="abc")
    before = team.wait_for(DEPLOYMENT, "mlflow")["spec"]["template"]

    team.patch(SECRET, {"stringData": {"uri": "sqlite:////tmp/b.db"}}, "db")

    team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: live["spec"]["template"] != before, "a new template", 5
    )


def test_a_secret_that_is_deleted_leaves_what_runs_as_it_is(team: Team, operator: RunningOperator) -> None:
    create_secret(team, {"uri": "sqlite:////tmp/a.db"}, watched=True)
    team.apply(DATABASE | running())
    team.end_migration(team.migration_pod(), revision="abc")
    before = team.wait_for(DEPLOYMENT, "mlflow")["spec"]

    team.api.delete(SECRET, team.namespace, "db")

    team.wait_for_condition(
        "BackendStoreReady", status="False", reason="SecretNotFound", seconds=SECONDS_TO_SAY_SO
    )
    assert team.get(DEPLOYMENT)["spec"] == before


def test_pods_that_the_cluster_refuses_are_reported(team: Team, operator: RunningOperator) -> None:
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "no-pods", "namespace": team.namespace},
            "spec": {"hard": {"pods": "0"}},
        }
    )
    team.apply({})

    condition = team.wait_for_condition("WorkloadReady", status="False", reason="QuotaExceeded")
    assert "no-pods" in condition["message"]


def test_a_volume_that_the_quota_refuses_is_reported(team: Team, operator: RunningOperator) -> None:
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "no-volumes", "namespace": team.namespace},
            "spec": {"hard": {"persistentvolumeclaims": "0"}},
        }
    )
    team.apply({"suspend": True})

    condition = team.wait_for_condition("BackendStoreReady", status="False", reason="QuotaExceeded")
    assert "no-volumes" in condition["message"]


def test_a_volume_that_nothing_uses_yet_keeps_its_size(team: Team, operator: RunningOperator) -> None:
    team.made({"suspend": True})
    before = team.get(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")["spec"]

    team.patch_server({"spec": {"backendStore": {"sqlite": {"size": "2Gi"}}}})

    team.settled()
    team.wait_for_condition("Ready", reason="Suspended")
    assert team.get(PERSISTENT_VOLUME_CLAIM, "mlflow-backend-store")["spec"] == before
    assert not team.warnings()


def test_a_pod_that_no_node_takes_is_reported(team: Team, operator: RunningOperator) -> None:
    team.apply(running())

    condition = team.wait_for_condition("WorkloadReady", status="False", reason="Unschedulable")
    assert "spec.podTemplate" in condition["message"]


def test_nothing_is_created_in_a_namespace_that_is_being_deleted(
    operator: RunningOperator, team: Team
) -> None:
    with a_team(team.api) as leaving:
        held = {"name": "held", "namespace": leaving.namespace, "finalizers": ["example.com/hold"]}
        leaving.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})
        leaving.apply({"suspend": True, "className": "missing"}, finalizers=["example.com/hold"])
        leaving.wait_for_condition("SpecValid", reason="ClassNotFound")
        leaving.api.delete(NAMESPACE, None, leaving.namespace)

        with pytest.raises(Refused) as refusal:
            leaving.apply({}, "late")

        assert "because it is being terminated" in refusal.value.message
        leaving.patch_server({"spec": {"className": None}})
        wait_until(
            lambda: "deletionTimestamp" in leaving.server()["metadata"], 30, "the server is being deleted"
        )
        assert not leaving.children()
        leaving.patch_server({"metadata": {"finalizers": None}})
        leaving.api.patch(CONFIG_MAP, leaving.namespace, "held", {"metadata": {"finalizers": None}})


def test_every_sample_is_let_in(cluster: DevelopmentCluster, installation: object) -> None:
    samples = list(yaml.safe_load_all(cluster.kubectl("kustomize", "manifests/samples")))
    known = [sample for sample in samples if sample["kind"].startswith("TrackingServer")]
    for sample in known:
        sample["metadata"].pop("namespace", None)
    assert known
    cluster.kubectl(
        "create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(known)
    )


def running() -> KubeObject:
    """A server whose pod is made, and that no node takes: as much as this group of tests needs."""
    return {"podTemplate": {"nodeSelector": {"no-such-node": "true"}}}


def create_secret(team: Team, content: dict[str, str], *, watched: bool = False) -> None:
    """Make the Secret that the servers of this module name."""
    labels = {"tracking-operator.dev/watch": "true"} if watched else {}
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "db", "namespace": team.namespace, "labels": labels},
            "stringData": content,
        }
    )
