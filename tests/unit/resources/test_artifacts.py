"""A prefix of a server's own: its Secrets, its variables and its Jobs."""

import base64
import json
import string
from configparser import ConfigParser
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import (
    EXTERNAL_BUCKET,
    Manifest,
    artifact_keys,
    model,
    program_and_arguments,
    s3_class,
    s3_store,
)
from tracking_operator.outcomes import EXIT_CODES
from tracking_operator.resources import build_objects
from tracking_operator.resources.artifacts_secret import (
    artifact_keys_in,
    build_artifacts_secret,
)
from tracking_operator.resources.client_config_map import QUIET
from tracking_operator.resources.client_secret import build_client_secret
from tracking_operator.resources.pod.artifact_jobs import (
    build_artifact_check_job,
    build_artifact_deletion_job,
)
from tracking_operator.resources.pod.server_pod import build_pod_template, server_arguments
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.s3 import RESERVED_ARTIFACT_ENV

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SECRET_KEY = "planted/Secret+Key"
IRSA = {"irsa": {"roleArnTemplate": "arn:aws:iam::123456789012:role/mlflow-{{ namespace }}.{{ name }}"}}
WITH_CA = {"endpoint": "https://s3.s3.svc:7070", "caConfigMapRef": {"name": "s3-ca"}}


def own_prefix(offer: Manifest | None = None, spec: Manifest | None = None) -> ServerModel:
    return model(spec or {}, s3_class(offer))


def own_secret(server: ServerModel, ca_certificates: str | None = None) -> Manifest:
    return build_artifacts_secret(server, s3_store(server), artifact_keys(SECRET_KEY), ca_certificates)


def contents(secret: Manifest) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def variables(server: ServerModel) -> dict[str, str]:
    (container,) = build_pod_template(server)["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


def object_named(server: ServerModel, kind: str, name: str) -> Manifest:
    (found,) = [
        one for one in build_objects(server) if (one["kind"], one["metadata"]["name"]) == (kind, name)
    ]
    return found


class TestSecret:
    def test_is_a_file_that_sdks_read(self) -> None:
        file = ConfigParser(interpolation=None)
        file.read_string(contents(own_secret(own_prefix()))["credentials"])
        assert dict(file["default"]) == {
            "aws_access_key_id": "AKIDEXAMPLE",
            "aws_secret_access_key": SECRET_KEY,
        }

    def test_has_the_ca_exactly_where_the_class_names_one(self) -> None:
        assert contents(own_secret(own_prefix(WITH_CA), CA))["ca.crt"] == CA
        assert contents(own_secret(own_prefix(), CA)).keys() == {"credentials"}

    def test_without_keys_has_the_ca_and_says_nothing_of_rotation(self) -> None:
        server = own_prefix(WITH_CA | {"identity": IRSA})
        secret = build_artifacts_secret(server, s3_store(server), None, CA)
        assert contents(secret) == {"ca.crt": CA}
        assert "annotations" not in secret["metadata"]
        assert artifact_keys_in(secret) is None

    def test_is_watched_and_goes_with_its_server(self) -> None:
        server = own_prefix()
        metadata = own_secret(server)["metadata"]
        assert metadata["name"] == "mlflow-artifacts"
        assert metadata["labels"]["tracking-operator.dev/watch"] == "true"
        assert metadata["ownerReferences"] == [server.owner_reference]

    @given(
        access_key_id=st.text(string.ascii_letters + string.digits + "-_.", min_size=1),
        secret_access_key=st.text(string.ascii_letters + string.digits + "-_.~+/=%$:#;'\"\\[]{}", min_size=1),
        rotated_for=st.text(),
        rotated_at=st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0)),
    )
    def test_reads_back_as_it_was_written(
        self, access_key_id: str, secret_access_key: str, rotated_for: str, rotated_at: datetime
    ) -> None:
        keys = artifact_keys(
            secret_access_key, access_key_id=access_key_id, rotated_for=rotated_for, rotated_at=rotated_at
        )
        server = own_prefix()
        assert artifact_keys_in(build_artifacts_secret(server, s3_store(server), keys, None)) == keys

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"nonsense",
            b"\xff\xfe\x00binary",
            b"[default]\n",
            b"[default]\naws_access_key_id=a\n",
            b"[default]\naws_access_key_id=\naws_secret_access_key=b\n",
            b"[other]\naws_access_key_id=a\naws_secret_access_key=b\n",
            b"[default]\naws_access_key_id=a\naws_secret_access_key=b\n[other]\n",
        ],
    )
    def test_that_we_would_not_write_has_no_keys(self, text: bytes) -> None:
        secret = own_secret(own_prefix())
        secret["data"]["credentials"] = base64.b64encode(text).decode()
        assert artifact_keys_in(secret) is None

    def test_that_is_not_there_has_no_keys(self) -> None:
        assert artifact_keys_in(None) is None

    def test_does_not_show_the_keys_in_a_repr(self) -> None:
        assert SECRET_KEY not in repr(artifact_keys(SECRET_KEY))


WITHOUT_KEYS = {"MLFLOW_TRACKING_URI", "TRACKING_SERVER_URL", "MLFLOW_PORT", *QUIET}
"""What clients are told that go through the server."""


class TestClients:
    def test_that_go_through_the_server_get_neither_keys_nor_settings(self) -> None:
        server = own_prefix()
        assert build_client_secret(server, artifact_keys()) is None
        assert object_named(server, "ConfigMap", "mlflow-client")["data"].keys() == WITHOUT_KEYS

    def test_that_reach_the_store_themselves_get_both_and_the_keys_only_in_the_secret(self) -> None:
        server = own_prefix(spec={"artifactStore": {"proxied": False}})
        secret = build_client_secret(server, artifact_keys(SECRET_KEY))
        assert secret is not None
        assert contents(secret) == {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        settings = object_named(server, "ConfigMap", "mlflow-client")["data"]
        assert settings["MLFLOW_S3_ENDPOINT_URL"] == "http://s3.s3.svc:7070"
        assert settings["AWS_DEFAULT_REGION"] == "us-east-1"
        assert SECRET_KEY not in json.dumps(build_objects(server))

    def test_of_an_external_store_get_what_they_got_before(self) -> None:
        server = model({"artifactStore": EXTERNAL_BUCKET | {"proxied": False}})
        assert build_client_secret(server, artifact_keys()) is None
        assert object_named(server, "ConfigMap", "mlflow-client")["data"].keys() == WITHOUT_KEYS


class TestPod:
    def test_proxied_artifacts_go_through_the_server(self) -> None:
        arguments = server_arguments(own_prefix())
        assert {"--serve-artifacts", "--artifacts-destination=s3://ml-artifacts/team-a/mlflow"} <= set(
            arguments
        )

    def test_direct_artifacts_name_their_root(self) -> None:
        arguments = server_arguments(own_prefix(spec={"artifactStore": {"proxied": False}}))
        assert {"--no-serve-artifacts", "--default-artifact-root=s3://ml-artifacts/team-a/mlflow"} <= set(
            arguments
        )

    def test_never_takes_the_identity_of_the_node(self) -> None:
        identities: tuple[Manifest, ...] = ({"versitygw": {}}, {"iamUser": {}}, {"secret": {}}, IRSA)
        for identity in identities:
            assert variables(own_prefix({"identity": identity}))["AWS_EC2_METADATA_DISABLED"] == "true"

    def test_finds_keys_that_we_made_in_the_mounted_file(self) -> None:
        found = variables(own_prefix())
        assert found["AWS_SHARED_CREDENTIALS_FILE"] == "/etc/mlflow/artifact-store/credentials"
        assert "AWS_SHARED_CREDENTIALS_FILE" not in variables(own_prefix({"identity": {"secret": {}}}))

    def test_by_a_role_mounts_no_keys_and_annotates_the_account(self) -> None:
        server = own_prefix({"identity": IRSA}, {"serviceAccount": {}})
        volumes = build_pod_template(server)["spec"]["volumes"]
        assert "artifact-store-credentials" not in {one["name"] for one in volumes}
        account = object_named(server, "ServiceAccount", "mlflow")
        assert account["metadata"]["annotations"] == {
            "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/mlflow-team-a.mlflow"
        }

    def test_with_keys_of_the_team_and_a_ca_of_the_class_has_both_in_one_folder(self) -> None:
        server = own_prefix(WITH_CA | {"identity": {"secret": {}}})
        (volume,) = [
            one
            for one in build_pod_template(server)["spec"]["volumes"]
            if one["name"] == "artifact-store-credentials"
        ]
        keys, ca = (one["secret"] for one in volume["projected"]["sources"])
        assert keys == {"name": "mlflow-s3"}
        assert ca == {"name": "mlflow-artifacts", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        assert variables(server)["AWS_CA_BUNDLE"] == "/etc/mlflow/artifact-store/ca.crt"

    def test_tells_only_other_servers_than_aws_to_do_without_checksums(self) -> None:
        checksums = {"AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"}
        assert checksums <= variables(own_prefix()).keys()
        at_aws = own_prefix({"endpoint": None, "identity": {"iamUser": {}}})
        assert not checksums & variables(at_aws).keys()
        assert not {"MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} & variables(at_aws).keys()

    @pytest.mark.parametrize(("offer", "style"), [({}, "path"), ({"addressingStyle": "virtual"}, "virtual")])
    def test_addresses_the_bucket_as_the_class_says(self, offer: Manifest, style: str) -> None:
        assert variables(own_prefix(offer))["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] == style

    def test_asks_for_the_encryption_that_the_bucket_demands(self) -> None:
        found = variables(own_prefix({"requireEncryption": "aws:kms"}))
        assert json.loads(found["MLFLOW_S3_UPLOAD_EXTRA_ARGS"]) == {"ServerSideEncryption": "aws:kms"}

    def test_lets_pods_overlap(self) -> None:
        spec = {"backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}}}
        assert not own_prefix(spec=spec).is_bound_to_one_pod

    def test_all_that_we_set_is_reserved(self) -> None:
        for offer in ({}, WITH_CA, {"requireEncryption": "AES256"}):
            assert s3_store(own_prefix(offer)).pod_parts().variables.keys() <= RESERVED_ARTIFACT_ENV


class TestJobs:
    BUILDERS = (build_artifact_check_job, build_artifact_deletion_job)

    def test_are_called_after_what_they_do(self) -> None:
        names = [build(own_prefix())["metadata"]["name"] for build in self.BUILDERS]
        assert names == ["mlflow-check-artifacts", "mlflow-delete-artifacts"]

    def test_see_the_artifacts_but_not_the_database(self) -> None:
        for build in self.BUILDERS:
            pod = build(own_prefix())["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounted == {"/opt/tracking-operator", "/tmp", "/etc/mlflow/artifact-store"}  # noqa: S108
            assert {mount["name"] for mount in container["volumeMounts"]} == {
                volume["name"] for volume in pod["volumes"]
            }

    def test_run_as_the_server_and_with_its_settings(self) -> None:
        server = own_prefix()
        for build in self.BUILDERS:
            pod = build(server)["spec"]["template"]["spec"]
            told = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
            assert pod["serviceAccountName"] == "mlflow"
            assert told.items() >= server.artifact_store.pod_parts().variables.items()

    def test_do_not_depend_on_objects_that_may_go_before_the_server(self) -> None:
        env = [
            {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
            {"name": "OTHER", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "x"}}},
        ]
        told = {"podTemplate": {"env": env, "envFrom": [{"secretRef": {"name": "gone"}}]}}
        for build in self.BUILDERS:
            job = build(own_prefix(spec=told))
            assert env[0] in job["spec"]["template"]["spec"]["containers"][0]["env"]
            assert "gone" not in json.dumps(job)

    def test_say_whose_keys_are_tried(self) -> None:
        def command(offer: Manifest) -> list[str]:
            job = build_artifact_check_job(own_prefix(offer))
            (container,) = job["spec"]["template"]["spec"]["containers"]
            return program_and_arguments(container)[1:]

        place = ["s3", "--bucket=ml-artifacts", "--prefix=team-a/mlflow"]
        assert command({}) == place
        assert command({"identity": {"secret": {}}}) == [*place, "--own-keys"]

    def test_give_up_what_a_person_must_look_at(self) -> None:
        for build in self.BUILDERS:
            _, failure = build(own_prefix())["spec"]["podFailurePolicy"]["rules"]
            codes = failure["onExitCodes"]["values"]
            assert {EXIT_CODES[reason] for reason in ("UnsupportedUri", "BucketElsewhere")} <= set(codes)
            mended_outside = (
                "LoginRefused",
                "AccessDenied",
                "IsolationNotProved",
                "BucketNotFound",
                "TlsFailed",
            )
            assert {EXIT_CODES[reason] for reason in mended_outside}.isdisjoint(codes)

    def test_are_for_a_prefix_of_ones_own_only(self) -> None:
        for build in self.BUILDERS:
            with pytest.raises(TypeError, match="team-a/mlflow has no prefix"):
                build(model())
