"""What reaches our scripts in a pod, however hostile its envFrom, its image and its specification are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.examples import (
    EXTERNAL_BUCKET,
    POSTGRES,
    S3,
    Manifest,
    model,
    plan_of,
    server,
    tracking_class,
)
from tracking_operator.api.labels_and_annotations import TOOLS_FILE
from tracking_operator.api.pod_template import RESERVED_ENV
from tracking_operator.failures import Invalid
from tracking_operator.pod_tools import in_clean_environment
from tracking_operator.pod_tools.programs import IN_CLEAN_ENVIRONMENT, PROGRAMS, START_SERVER
from tracking_operator.resources.pod.artifact_jobs import (
    build_artifact_check_job,
    build_artifact_deletion_job,
)
from tracking_operator.resources.pod.environment import LOADER
from tracking_operator.resources.pod.migration_job import build_migration_job
from tracking_operator.resources.pod.server_pod import SERVER_ENVIRONMENT, build_pod_template
from tracking_operator.resources.pod.tools import ARCHIVE_PATH
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.postgres import PostgresBackend
from tracking_operator.resources.stores.s3 import RESERVED_ARTIFACT_ENV, S3Artifacts
from tracking_operator.resources.tools_archive import archive_of, own_sources

EVIL = "evil"
HARMLESS = {"TEAM_SETTING": "kept", "HTTPS_PROXY": "http://proxy:3128"}
STEERING = (
    "ALEMBIC_CONFIG",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "BOTO_CONFIG",
    "FLASK_APP",
    "FORWARDED_ALLOW_IPS",
    "GLIBC_TUNABLES",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GUNICORN_CMD_ARGS",
    "LD_BIND_NOW",
    "MLFLOW_AUTH_CONFIG_PATH",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE",
    "MLFLOW_ENABLE_WORKSPACES",
    "MLFLOW_S3_IGNORE_TLS",
    "MLFLOW_TRACKING_URI",
    "OPENSSL_CONF",
    "PGHOST",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "REQUESTS_CA_BUNDLE",
    "SQLALCHEMY_WARN_20",
    "SSL_CERT_FILE",
    "TRACKING_OPERATOR_CREDENTIALS",
    "UVICORN_HOST",
    "WEB_CONCURRENCY",
    "_MLFLOW_SERVER_FILE_STORE",
)
"""One of each kind at least, and those by which an attack is known."""

PROBE = """import json, os, sys
def main(arguments):
    json.dump([arguments, dict(os.environ), sys.path], sys.stdout)
"""
ENV_FROM: Manifest = {"podTemplate": {"envFrom": [{"secretRef": {"name": "hostile"}}]}}

CLASSES: dict[str, Manifest] = {
    "postgres and a bucket": {
        "postgres": POSTGRES,
        "s3": S3,
        "access": {"authentication": {"basic": {}}},
    },
    "sqlite and a volume": {},
}


def modelled(class_: str, **permissions: object) -> ServerModel:
    """A server of a class, with variables from a hostile Secret."""
    spec = CLASSES[class_] | {"permissions": {"podTemplate": permissions}}
    return model(ENV_FROM, tracking_class(spec, is_default=True))


def containers_of(server: ServerModel) -> dict[str, Manifest]:
    """Every container in which a script of ours runs, by name."""
    pods = [build_pod_template(server)]
    if isinstance(server.backend_store, PostgresBackend):
        pods.append(build_migration_job(server)["spec"]["template"])
    if isinstance(server.artifact_store, S3Artifacts):
        jobs = (build_artifact_check_job(server), build_artifact_deletion_job(server))
        pods += [job["spec"]["template"] for job in jobs]
    found = [
        one for pod in pods for kind in ("initContainers", "containers") for one in pod["spec"].get(kind, ())
    ]
    return {container["name"]: container for container in found}


def archive_with(program: str, folder: Path) -> Path:
    """The archive of pods, in which every program but the first is another one."""
    sources = own_sources()
    others = [one for one in PROGRAMS if one != IN_CLEAN_ENVIRONMENT]
    changed = {f"tracking_operator/pod_tools/{one.replace('-', '_')}.py": program.encode() for one in others}
    assert changed.keys() <= sources.keys()
    archive = folder / TOOLS_FILE
    archive.write_bytes(archive_of(sources | changed).content)
    return archive


def started(
    container: Manifest, folder: Path, hostile: dict[str, str]
) -> tuple[list[str], dict[str, str], list[str]]:
    """Start a container as the kubelet does: its env counts more than envFrom and the image. What its script found."""
    archive = archive_with(PROBE, folder)
    environment = hostile | {one["name"]: one["value"] for one in container["env"]}
    python, *arguments = [
        argument.replace(ARCHIVE_PATH, str(archive))
        for argument in (*container["command"], *container.get("args", ()))
    ]
    assert python == "python3"
    process = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert process.stderr == "", "neither the loader nor Python has noticed anything"
    arguments, variables, path = json.loads(process.stdout)
    return arguments, variables, path


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, str]:
    """Variables of every kind; Python's and the loader's would leave traces."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys; print('run by the attacker', file=sys.stderr)\n")
    (folder / "json.py").write_text("raise SystemExit('run by the attacker')\n")
    return {
        **dict.fromkeys(STEERING, EVIL),
        **HARMLESS,
        "PYTHONPATH": str(folder),
        "LD_PRELOAD": f"{folder}/nothing.so",
        "PYTHONUSERBASE": str(folder),
    }


@pytest.mark.parametrize("class_", CLASSES)
def test_no_container_has_what_we_did_not_set(class_: str, tmp_path: Path, hostile: dict[str, str]) -> None:
    containers = containers_of(modelled(class_))
    assert len(containers) >= 2
    for name, container in containers.items():
        arguments, variables, path = started(container, tmp_path, hostile)
        assert EVIL not in {value for key, value in variables.items() if key != "LC_CTYPE"}, name
        assert HARMLESS.items() <= variables.items(), name
        ours = {one["name"]: one["value"] for one in container["env"] if one["name"] not in LOADER}
        assert ours.items() <= variables.items(), name
        assert not any("hostile" in place for place in path), name
        assert arguments[-1:] == [*container["command"], *container.get("args", ())][-1:] or not arguments


def test_what_the_class_permits_stays_but_for_what_is_ours(tmp_path: Path, hostile: dict[str, str]) -> None:
    server = modelled("postgres and a bucket", variables=["MLFLOW_*", "AWS_*", "LD_*", "PYTHONWARNINGS"])
    container = containers_of(server)["mlflow"]
    permitted = hostile | {"MLFLOW_LOGGING_LEVEL": "DEBUG", "PYTHONWARNINGS": "ignore"}
    _, variables, _ = started(container, tmp_path, permitted)
    assert variables["MLFLOW_LOGGING_LEVEL"] == "DEBUG"
    assert variables["PYTHONWARNINGS"] == "ignore"
    assert variables["AWS_ENDPOINT_URL_STS"] == EVIL, "the class said so"
    ours = {one["name"]: one["value"] for one in container["env"]}
    for name in {*RESERVED_ENV, *RESERVED_ARTIFACT_ENV} - {"PATH"}:
        assert variables.get(name) == (ours.get(name) if name not in LOADER else None), name


def test_an_external_artifact_store_is_found_by_the_teams_variables(tmp_path: Path) -> None:
    server = model(ENV_FROM | {"artifactStore": EXTERNAL_BUCKET}, tracking_class({}, is_default=True))
    variables = {"AWS_PROFILE": "team", "MLFLOW_S3_ENDPOINT_URL": "http://s3", "PGHOST": EVIL}
    for name in ("mlflow", "check-artifact-store"):
        _, found, _ = started(containers_of(server)[name], tmp_path, variables)
        assert (found["AWS_PROFILE"], found["MLFLOW_S3_ENDPOINT_URL"]) == ("team", "http://s3")
        assert "PGHOST" not in found


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (
            {"irsa": {"roleArnTemplate": "arn:aws:iam::123456789012:role/{{ namespace }}.{{ name }}"}},
            "AWS_ROLE_ARN",
        ),
        ({"podIdentity": {}}, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ],
)
def test_what_a_cloud_adds_for_the_servers_own_identity_stays(
    identity: Manifest, name: str, tmp_path: Path
) -> None:
    isolation = {"isolation": "abac"} if "podIdentity" in identity else {}
    offer = {"bucket": "ml-artifacts", "identity": identity} | isolation
    server = model({}, tracking_class({"s3": offer}, is_default=True))
    added = {"AWS_ROLE_ARN": "arn", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23"}
    for container in containers_of(server).values():
        if container["name"] in ("mlflow", "check-artifact-store", "delete-artifacts"):
            _, found, _ = started(container, tmp_path, added | {"AWS_PROFILE": EVIL})
            assert {one for one in found if one in {*added, "AWS_PROFILE"}} == {name}


@pytest.mark.parametrize("name", ["AWS_PROFILE", "PYTHONPATH", "PGHOST", "LD_BIND_NOW", "SSL_CERT_FILE"])
def test_a_variable_that_steers_is_refused_where_it_can_be_seen(name: str) -> None:
    spec = {"podTemplate": {"env": [{"name": name, "value": EVIL}]}}
    with pytest.raises(Invalid, match=f"env {name} is not permitted by permissions.podTemplate.variables"):
        plan_of(server(spec), tracking_class({}, is_default=True))
    permitted = {"permissions": {"podTemplate": {"variables": [name]}}}
    assert plan_of(server(spec), tracking_class(permitted, is_default=True))


def test_every_reserved_variable_steers_or_is_set_or_says_where_programs_are() -> None:
    others = {name for name in RESERVED_ENV if not in_clean_environment.steers(name)}
    assert others - SERVER_ENVIRONMENT.keys() == {"PATH"}


def test_a_script_that_ends_gives_its_exit_code_to_the_kubelet(tmp_path: Path) -> None:
    archive = archive_with("def main(arguments):\n    return 23\n", tmp_path)
    command = [sys.executable, "-I", str(archive), IN_CLEAN_ENVIRONMENT, "--", START_SERVER]
    assert subprocess.run(command, check=False, env=dict(os.environ)).returncode == 23
