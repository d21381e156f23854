"""What the development cluster's S3 server is made of."""

import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from dev.images.recipes import ROOT, digest_of, image_name, snapshot
from dev.local_cluster.versions import pinned
from dev.object_store.deployment import new_identities
from dev.object_store.image import versitygw_recipe
from dev.object_store.manifests import (
    ADMIN_SECRET,
    ROOT_SECRET,
    Identities,
    Wanted,
    build_class_spec,
    build_operator_objects,
    build_server_objects,
    identities_in,
)
from tracking_operator.api.tracking_server_class import S3StoreSpec
from tracking_operator.kube.objects import KubeObject
from tracking_operator.stores.s3.bucket_address import Keys

PEOPLE = Identities(
    root=Keys("root", "root's secret", source=f"the Secret {ROOT_SECRET}"),
    admin=Keys("admin", "admin's secret", source=f"the Secret {ADMIN_SECRET}"),
    ca_certificate="CA",
    certificate="CERTIFICATE",
    key="KEY",
)
WANTED = Wanted("s3", "tracking-operator/versitygw:1", "0123456789ab")
PLAIN = Wanted("s3", "tracking-operator/versitygw:1", "0123456789ab", tls=False)


def built(wanted: Wanted = WANTED) -> dict[str, KubeObject]:
    """The objects by kind and name."""
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in build_server_objects(wanted, PEOPLE)}


def pod(wanted: Wanted = WANTED) -> KubeObject:
    spec: KubeObject = built(wanted)["Deployment/s3"]["spec"]["template"]["spec"]
    return spec


def container(wanted: Wanted = WANTED) -> KubeObject:
    (only,) = pod(wanted)["containers"]
    return dict(only)


def secrets_of(wanted: Wanted = WANTED) -> dict[str, KubeObject]:
    """The Secrets by name."""
    return {name.partition("/")[2]: one for name, one in built(wanted).items() if name.startswith("Secret/")}


# The image


def test_the_image_is_called_by_the_version_of_the_gateway() -> None:
    recipe = versitygw_recipe()
    assert recipe.version == pinned("versitygw")
    assert image_name(recipe, digest_of(recipe)) == f"tracking-operator/versitygw:{pinned('versitygw')}"


def test_the_build_gets_the_program_beside_the_files_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "versitygw").touch(mode=0o700)
    monkeypatch.setattr("dev.object_store.image.versitygw_program", lambda: tmp_path / "versitygw")
    with snapshot(versitygw_recipe()) as context:
        files = {file.relative_to(context).as_posix() for file in context.rglob("*") if file.is_file()}
        assert (context / "programs/versitygw").stat().st_mode & 0o777 == 0o755
    assert files == {
        "dev/images/versitygw/Dockerfile",
        "dev/images/versitygw/run-versitygw",
        "programs/versitygw",
    }


def test_the_start_script_can_be_executed_and_parsed() -> None:
    script = ROOT / "dev/images/versitygw/run-versitygw"
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", str(script)], check=True)


# Its objects


def test_the_pod_is_one_that_the_restricted_standard_admits() -> None:
    labels = built()["Namespace/s3"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    security = pod()["securityContext"]
    assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert security["runAsUser"] >= 10_000
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_service_finds_the_pod() -> None:
    template = built()["Deployment/s3"]["spec"]["template"]
    assert built()["Service/s3"]["spec"]["selector"] == template["metadata"]["labels"]


def test_two_pods_never_share_the_volume() -> None:
    assert built()["Deployment/s3"]["spec"]["strategy"] == {"type": "Recreate"}


def test_without_storage_there_is_no_claim() -> None:
    passing = Wanted("s3", "image", "digest", storage="")
    assert "PersistentVolumeClaim/s3-data" in built()
    assert "PersistentVolumeClaim/s3-data" not in built(passing)
    assert {"name": "data", "emptyDir": {}} in pod(passing)["volumes"]


def test_roots_keys_are_in_the_environment_by_reference_only() -> None:
    assert {variable["name"] for variable in container()["env"]} == {
        "ROOT_ACCESS_KEY_ID",
        "ROOT_SECRET_ACCESS_KEY",
    }
    assert all(variable["valueFrom"]["secretKeyRef"]["name"] == "s3-root" for variable in container()["env"])
    assert "root's secret" not in str(built()["Deployment/s3"])


def test_it_speaks_https_unless_told_otherwise() -> None:
    assert [word.partition("=")[0] for word in container()["args"]] == [
        "--port",
        "--region",
        "--health",
        "--cert",
        "--key",
    ]
    assert [word.partition("=")[0] for word in container(PLAIN)["args"]] == ["--port", "--region", "--health"]
    assert container()["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert container(PLAIN)["readinessProbe"]["httpGet"]["scheme"] == "HTTP"


def test_another_build_of_the_image_is_another_pod() -> None:
    first, second = (
        built(Wanted("s3", "image", digest))["Deployment/s3"]["spec"]["template"] for digest in "ab"
    )
    assert first != second


def test_what_was_written_is_read_back_so_that_keys_stay() -> None:
    assert identities_in(secrets_of()) == PEOPLE


@pytest.mark.parametrize("missing", ["s3-admin", "s3-root", "s3-tls"])
def test_where_a_part_is_missing_all_is_made_anew(missing: str) -> None:
    found = secrets_of()
    del found[missing]
    assert identities_in(found) is None


# What the operator and classes are told


def test_the_operator_learns_the_admins_keys_and_the_authority_and_no_more() -> None:
    secret, config_map = build_operator_objects("s3", "tracking-operator-system", PEOPLE)
    assert set(secret["data"]) == {"accessKeyId", "secretAccessKey"}
    assert secret["metadata"]["labels"]["tracking-operator.dev/watch"] == "true"
    assert config_map["data"] == {"ca.crt": "CA"}
    assert {one["metadata"]["namespace"] for one in (secret, config_map)} == {"tracking-operator-system"}


def test_two_servers_do_not_share_names_in_the_operators_namespace() -> None:
    names = [
        {one["metadata"]["name"] for one in build_operator_objects(namespace, "operators", PEOPLE)}
        for namespace in ("s3", "other-s3")
    ]
    assert names[0].isdisjoint(names[1])


def test_a_class_names_what_the_operator_was_told() -> None:
    secret, config_map = build_operator_objects("s3", "operators", PEOPLE)
    offer = S3StoreSpec.model_validate(build_class_spec("s3"))
    assert offer.endpoint == "https://s3.s3.svc:7070"
    assert offer.admin_secret_ref is not None
    assert offer.admin_secret_ref.name == secret["metadata"]["name"]
    assert offer.ca_config_map_ref is not None
    assert offer.ca_config_map_ref.name == config_map["metadata"]["name"]
    assert offer.identity.versitygw is not None
    assert offer.create is not None


def test_a_class_needs_no_authority_for_plain_http() -> None:
    offer = S3StoreSpec.model_validate(build_class_spec("s3", tls=False))
    assert (offer.endpoint, offer.ca_config_map_ref) == ("http://s3.s3.svc:7070", None)


# Who it is


def test_the_certificate_carries_every_name_of_the_service_and_the_loopback() -> None:
    certificate = x509.load_pem_x509_certificate(new_identities("s3").certificate.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "s3",
        "s3.s3",
        "s3.s3.svc",
        "s3.s3.svc.cluster.local",
    }
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_keys_are_new_each_time_and_in_no_log() -> None:
    first, second = new_identities("s3"), new_identities("s3")
    keys = {one.secret_access_key for pair in (first, second) for one in (pair.root, pair.admin)}
    assert len(keys) == 4
    assert not any(key in repr(first) for key in keys)
