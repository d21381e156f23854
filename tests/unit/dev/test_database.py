"""What the development cluster's PostgreSQL is made of."""

import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from dev.database.deployment import new_identities
from dev.database.image import copy_programs, postgres_recipe
from dev.database.manifests import (
    Identities,
    Wanted,
    build_operator_objects,
    build_server_objects,
    identities_in,
)
from dev.images.recipes import ROOT, digest_of, image_name, snapshot
from dev.local_cluster.versions import pinned
from tracking_operator.kube.objects import KubeObject

PEOPLE = Identities("admin", "admin's", "superuser's", "CA", "CERTIFICATE", "KEY")
WANTED = Wanted("postgres", "tracking-operator/postgres:18", "0123456789ab")


def built(wanted: Wanted = WANTED) -> dict[str, KubeObject]:
    """The objects by kind and name."""
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in build_server_objects(wanted, PEOPLE)}


def pod(wanted: Wanted = WANTED) -> KubeObject:
    spec: KubeObject = built(wanted)["Deployment/postgres"]["spec"]["template"]["spec"]
    return spec


# The image


def test_the_image_is_called_by_the_major_version_and_counts_the_exact_one() -> None:
    recipe = postgres_recipe("18")
    assert image_name(recipe, digest_of(recipe)) == "tracking-operator/postgres:18"
    assert recipe.version == pinned("postgres-18")
    assert digest_of(recipe) != digest_of(postgres_recipe("17"))


def test_the_build_gets_the_programs_beside_the_files_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "postgres").touch()
    monkeypatch.setattr("dev.database.image.postgres_programs", lambda version: tmp_path)
    with snapshot(postgres_recipe()) as context:
        files = {file.relative_to(context).as_posix() for file in context.rglob("*") if file.is_file()}
    assert files == {
        "dev/images/postgres/Dockerfile",
        "dev/images/postgres/pg_hba.conf",
        "dev/images/postgres/run-postgres",
        "programs/bin/postgres",
    }


def test_links_stay_links_and_what_compilers_need_stays_out(tmp_path: Path) -> None:
    library = tmp_path / "from" / "lib"
    library.mkdir(parents=True)
    for name in ("libpq.so.5.18", "libpq.a"):
        (library / name).touch()
    (library / "libpq.so.5").symlink_to("libpq.so.5.18")
    copy_programs(tmp_path / "from", tmp_path / "to")
    assert sorted(file.name for file in (tmp_path / "to" / "lib").iterdir()) == [
        "libpq.so.5",
        "libpq.so.5.18",
    ]
    assert (tmp_path / "to" / "lib" / "libpq.so.5").is_symlink()


def test_the_start_script_can_be_executed_and_parsed() -> None:
    script = ROOT / "dev/images/postgres/run-postgres"
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_every_rule_wants_tls_and_a_password() -> None:
    lines = (ROOT / "dev/images/postgres/pg_hba.conf").read_text().splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    assert rules == [["hostssl", "all", "all", "all", "scram-sha-256"]]


# Its objects


def test_the_pod_is_one_that_the_restricted_standard_admits() -> None:
    assert (
        built()["Namespace/postgres"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        == "restricted"
    )
    security = pod()["securityContext"]
    assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert security["runAsUser"] >= 10_000
    (container,) = pod()["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_service_finds_the_pod() -> None:
    template = built()["Deployment/postgres"]["spec"]["template"]
    assert built()["Service/postgres"]["spec"]["selector"] == template["metadata"]["labels"]


def test_two_pods_never_share_the_volume() -> None:
    assert built()["Deployment/postgres"]["spec"]["strategy"] == {"type": "Recreate"}


def test_without_storage_there_is_no_claim() -> None:
    passing = Wanted("postgres", "image", "digest", storage="")
    assert "PersistentVolumeClaim/postgres-data" in built()
    assert "PersistentVolumeClaim/postgres-data" not in built(passing)
    assert {"name": "data", "emptyDir": {}} in pod(passing)["volumes"]


def test_the_number_of_connections_is_an_argument_of_the_server() -> None:
    (container,) = pod(Wanted("postgres", "image", "digest", max_connections=500))["containers"]
    assert "max_connections=500" in container["args"]


def test_another_build_of_the_image_is_another_pod() -> None:
    first, second = (
        built(Wanted("postgres", "image", digest))["Deployment/postgres"]["spec"]["template"]
        for digest in "ab"
    )
    assert first != second


def test_what_was_written_is_read_back_so_that_passwords_stay() -> None:
    secrets = {name.partition("/")[2]: one for name, one in built().items() if name.startswith("Secret/")}
    assert identities_in(secrets) == PEOPLE


@pytest.mark.parametrize("missing", ["postgres-admin", "postgres-superuser", "postgres-tls"])
def test_where_a_part_is_missing_all_is_made_anew(missing: str) -> None:
    secrets = {name.partition("/")[2]: one for name, one in built().items() if name.startswith("Secret/")}
    del secrets[missing]
    assert identities_in(secrets) is None


def test_the_operator_learns_the_admins_login_and_the_authority_and_no_more() -> None:
    secret, config_map = build_operator_objects("postgres", "tracking-operator-system", PEOPLE)
    assert set(secret["data"]) == {"username", "password"}
    assert secret["metadata"]["labels"]["tracking-operator.dev/watch"] == "true"
    assert config_map["data"] == {"ca.crt": "CA"}
    assert {one["metadata"]["namespace"] for one in (secret, config_map)} == {"tracking-operator-system"}


def test_two_servers_do_not_share_names_in_the_operators_namespace() -> None:
    names = [
        {one["metadata"]["name"] for one in build_operator_objects(namespace, "operators", PEOPLE)}
        for namespace in ("postgres", "other-postgres")
    ]
    assert names[0].isdisjoint(names[1])


# Who it is


def test_the_certificate_carries_every_name_of_the_service() -> None:
    certificate = x509.load_pem_x509_certificate(new_identities("postgres").certificate.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "postgres",
        "postgres.postgres",
        "postgres.postgres.svc",
        "postgres.postgres.svc.cluster.local",
    }


def test_passwords_are_new_each_time_and_in_no_log() -> None:
    first, second = new_identities("postgres"), new_identities("postgres")
    passwords = {
        first.admin_password,
        first.superuser_password,
        second.admin_password,
        second.superuser_password,
    }
    assert len(passwords) == 4
    assert not any(password in repr(first) for password in passwords)
