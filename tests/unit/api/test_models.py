"""The models read what Kubernetes stores, and say what a user wrote and no more."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tracking_operator.api.base import matches_key, seconds_in
from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.labels_and_annotations import (
    ALLOW_EMPTY_STORE_ANNOTATION,
    DEFAULT_CLASS_ANNOTATION,
)
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.api.tracking_server import (
    AccessMode,
    ArtifactStore,
    BackendStore,
    ClientStatus,
    TrackingServer,
    TrackingServerSpec,
    TrackingServerStatus,
)
from tracking_operator.api.tracking_server_class import (
    BUILT_IN_CLASS,
    SslMode,
    TrackingServerClass,
    TrackingServerClassSpec,
)

SECRET_URI = {"uriSecretRef": {"name": "my-db", "key": "uri"}}


def test_an_empty_object_is_a_server_with_defaults() -> None:
    server = TrackingServer.model_validate({"metadata": {"name": "mlflow", "namespace": "team-a"}})
    assert server.spec == TrackingServerSpec()
    assert server.spec.suspend is False
    assert server.spec.artifact_store.proxied is True
    assert (server.spec.replicas, server.spec.workers, server.spec.deletion_policy) == (None, None, None)
    assert server.status == TrackingServerStatus()


def test_a_class_permits_nothing_that_it_does_not_say() -> None:
    spec = TrackingServerClassSpec()
    assert spec == TrackingServerClass.model_validate({}).spec
    assert not any(spec.permissions.model_dump(exclude={"pod_template", "oidc"}).values())
    assert not any(spec.permissions.oidc.model_dump().values())
    assert not any(spec.permissions.pod_template.model_dump().values())


def test_the_built_in_class_lets_everybody_in_and_says_so() -> None:
    assert BUILT_IN_CLASS.as_kubernetes()["access"] == {"authentication": {"none": {}}}
    assert BUILT_IN_CLASS.permissions.custom_images is False


@pytest.mark.parametrize(
    ("pattern", "key", "is_meant"),
    [
        ("example.com/a", "example.com/a", True),
        ("example.com/a", "example.com/ab", False),
        ("example.com/*", "example.com/ab", True),
        ("example.com/*", "example.com.evil.org/a", False),
        ("*", "anything", True),
    ],
)
def test_a_pattern_means_a_key_or_a_beginning(pattern: str, key: str, is_meant: bool) -> None:
    assert matches_key(pattern, key) is is_meant


def test_fields_of_a_newer_version_are_ignored_wherever_they_are() -> None:
    server = TrackingServer.model_validate(
        {
            "metadata": {"name": "mlflow", "managedFields": []},
            "spec": {"autoscaling": {}, "backendStore": {"sqlite": {"journal": "wal"}}},
            "status": {"sharedWith": [], "client": {"configMapName": "mlflow-client", "fieldOfTheFuture": 1}},
        }
    )
    assert server.spec.backend_store.kind is BackendStoreKind.SQLITE
    assert server.status.client == ClientStatus(config_map_name="mlflow-client")


def test_models_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrackingServerSpec().replicas = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("store", "kind"),
    [
        ({}, None),
        ({"postgres": {}}, BackendStoreKind.POSTGRES),
        ({"sqlite": {}}, BackendStoreKind.SQLITE),
        ({"external": SECRET_URI}, BackendStoreKind.EXTERNAL),
    ],
)
def test_kind_of_a_backend_store_is_the_member_that_is_there(
    store: dict[str, Any], kind: BackendStoreKind | None
) -> None:
    assert BackendStore.model_validate(store).kind is kind


@pytest.mark.parametrize(
    ("store", "kind"),
    [
        ({"proxied": True}, None),
        ({"volume": {}}, ArtifactStoreKind.VOLUME),
        ({"external": {"uri": "s3://bucket"}}, ArtifactStoreKind.EXTERNAL),
    ],
)
def test_kind_of_an_artifact_store_is_the_member_that_is_there(
    store: dict[str, Any], kind: ArtifactStoreKind | None
) -> None:
    assert ArtifactStore.model_validate(store).kind is kind


def test_absent_members_of_a_volume_have_their_documented_defaults() -> None:
    volume = ArtifactStore.model_validate({"volume": {}}).volume
    sqlite = BackendStore.model_validate({"sqlite": {}}).sqlite
    assert volume is not None
    assert sqlite is not None
    assert (volume.size, volume.access_mode, sqlite.size) == ("10Gi", AccessMode.READ_WRITE_ONCE, "1Gi")


def test_a_postgresql_that_is_described_by_its_host_and_admin_alone_is_a_safe_one() -> None:
    described = {"host": "pg.db.svc", "adminSecretRef": {"name": "pg-admin"}}
    offer = TrackingServerClassSpec.model_validate({"postgres": described}).postgres
    assert offer is not None
    assert (offer.port, offer.maintenance_database, offer.connection_limit) == (5432, "postgres", 40)
    assert (offer.ssl_mode, offer.allow_superuser, offer.rotate_every) == (SslMode.VERIFY_FULL, False, None)


@pytest.mark.parametrize(
    ("mode", "verifies"),
    [
        ("disable", False),
        ("allow", False),
        ("prefer", False),
        ("require", False),
        ("verify-ca", True),
        ("verify-full", True),
    ],
)
def test_only_two_ssl_modes_look_at_the_certificate(mode: str, verifies: bool) -> None:
    assert SslMode(mode).verifies is verifies


@pytest.mark.parametrize(("duration", "seconds"), [("1h", 3600), ("12h", 43_200), ("90d", 7_776_000)])
def test_a_duration_is_hours_or_days(duration: str, seconds: float) -> None:
    assert seconds_in(duration) == seconds


def test_quantities_are_strings_however_they_were_written() -> None:
    spec = TrackingServerSpec.model_validate(
        {
            "resources": {"limits": {"cpu": 2, "memory": "1Gi"}},
            "backendStore": {"sqlite": {"size": 1073741824}},
        }
    )
    assert spec.resources is not None
    assert spec.resources.limits == {"cpu": "2", "memory": "1Gi"}
    assert spec.backend_store.sqlite is not None
    assert spec.backend_store.sqlite.size == "1073741824"


def test_snake_case_and_camel_case_are_both_read() -> None:
    assert TrackingServerSpec(class_name="standard") == TrackingServerSpec.model_validate(
        {"className": "standard"}
    )


@pytest.mark.parametrize(("value", "allows"), [("true", True), ("True", False), ("", False), (None, False)])
def test_only_the_word_true_accepts_an_empty_store(value: str | None, allows: bool) -> None:
    annotations = {} if value is None else {ALLOW_EMPTY_STORE_ANNOTATION: value}
    server = TrackingServer.model_validate({"metadata": {"annotations": annotations}})
    assert server.allows_empty_store is allows


@pytest.mark.parametrize(("value", "is_default"), [("true", True), ("false", False), (None, False)])
def test_only_the_word_true_makes_a_class_the_default(value: str | None, is_default: bool) -> None:
    annotations = {} if value is None else {DEFAULT_CLASS_ANNOTATION: value}
    assert (
        TrackingServerClass.model_validate({"metadata": {"annotations": annotations}}).is_default
        is is_default
    )


def test_conditions_of_other_writers_do_not_break_the_status() -> None:
    status = TrackingServerStatus.model_validate(
        {
            "conditions": [
                {
                    "type": "example.com/Audited",
                    "status": "True",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                    "reason": "SomethingElse",
                    "message": "",
                }
            ]
        }
    )
    assert status.condition(ConditionType.READY) is None


def test_a_deleted_object_says_so() -> None:
    server = TrackingServer.model_validate({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    assert server.metadata.is_being_deleted
    assert not TrackingServer().metadata.is_being_deleted


words = st.sampled_from(["a", "b", "zone", "x-y"])
labels = st.dictionaries(words, words, max_size=2)
env_vars = st.fixed_dictionaries(
    {"name": words},
    optional={
        "value": words,
        "valueFrom": st.fixed_dictionaries(
            {
                "secretKeyRef": st.fixed_dictionaries(
                    {"name": words, "key": words}, optional={"optional": st.booleans()}
                )
            }
        ),
    },
)
affinities = st.fixed_dictionaries(
    {
        "podAntiAffinity": st.fixed_dictionaries(
            {
                "requiredDuringSchedulingIgnoredDuringExecution": st.lists(
                    st.fixed_dictionaries(
                        {"topologyKey": words},
                        optional={"labelSelector": st.fixed_dictionaries({"matchLabels": labels})},
                    ),
                    max_size=2,
                )
            }
        )
    }
)
pod_templates = st.fixed_dictionaries(
    {},
    optional={
        "labels": labels,
        "nodeSelector": labels,
        "env": st.lists(env_vars, max_size=2),
        "affinity": affinities,
        "tolerations": st.lists(
            st.fixed_dictionaries({}, optional={"key": words, "tolerationSeconds": st.just(60)})
        ),
        "imagePullSecrets": st.lists(st.fixed_dictionaries({"name": words}), max_size=2),
    },
)


@given(pod_templates)
def test_a_pod_template_comes_out_as_it_was_written(written: dict[str, Any]) -> None:
    assert PodTemplate.model_validate(written).as_kubernetes() == written


def test_an_error_never_holds_what_was_refused() -> None:
    with pytest.raises(ValidationError) as refused:
        TrackingServer.model_validate(
            {"metadata": {}, "spec": {"replicas": "my-password", "workers": "my-password"}}
        )
    assert "my-password" not in str(refused.value)
