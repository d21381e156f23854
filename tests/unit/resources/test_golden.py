"""Servers as YAML: what goes in, and every object that comes out.

Three servers are stored whole; of every other one what differs from the nearest of them (see `differences.py`).

`UPDATE_GOLDEN=1` writes the files anew; the diff is then what a reviewer reads. A change of what all servers
have is seen in the whole ones only. A new server is one file in `golden/servers`, with the UID of a whole one
that it is like.
"""

import base64
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.unit.examples import (
    GOLDEN,
    GOLDEN_SERVERS,
    Manifest,
    artifact_keys,
    credentials,
    database_secret,
    golden_plan,
    login_credentials,
)
from tests.unit.resources.differences import DoesNotApply, Objects, difference, patched
from tracking_operator.api.labels_and_annotations import TOOLS_PREFIX
from tracking_operator.resources import build_objects
from tracking_operator.resources.artifacts_secret import build_artifacts_secret
from tracking_operator.resources.auth_secret import build_auth_secret
from tracking_operator.resources.client_secret import build_client_secret
from tracking_operator.resources.pod.artifact_jobs import (
    build_artifact_check_job,
    build_artifact_deletion_job,
)
from tracking_operator.resources.pod.earlier_settings import with_earlier_settings
from tracking_operator.resources.pod.migration_job import build_migration_job
from tracking_operator.resources.pod.pools import with_pool
from tracking_operator.resources.pod.tools import in_former_layout
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.sign_on_secret import build_sign_on_secret
from tracking_operator.resources.stores.external_bucket import ExternalArtifacts
from tracking_operator.resources.stores.external_database import ExternalBackend
from tracking_operator.resources.stores.postgres import PostgresBackend
from tracking_operator.resources.stores.s3 import S3Artifacts
from tracking_operator.resources.tools_archive import current_archive

UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
POD_TEMPLATE_DIGESTS = GOLDEN / "pod-template-digests.yaml"
FORMER_POD_TEMPLATE_DIGESTS = GOLDEN / "former-pod-template-digests.yaml"
ARCHIVE = f"{TOOLS_PREFIX}digest"

WHOLE = ("minimal", "managed-stores-login-ingress", "three-replicas-on-a-shared-volume")
"""The servers whose objects are stored whole. They use every builder but the HTTPRoute's."""
OTHERS = [case for case in GOLDEN_SERVERS if case not in WHOLE]
BASE_MARK = "--- differs from "

DIGESTS_HEADER = """\
# What the pods of each golden server run, as a digest. A change of one of these restarts every server of that
# shape as soon as the new operator starts: it needs a decision record, and a line in the release notes.
"""


def golden_model(case: str) -> ServerModel:
    """The model of one golden server; Secrets that its specification names have a content."""
    model = golden_plan(case).model
    stores = (model.backend_store, model.artifact_store)
    names_secrets = any(
        isinstance(one, ExternalBackend | ExternalArtifacts | S3Artifacts) and one.secret for one in stores
    )
    return replace(model, credentials_digest="0123456789abcdef") if names_secrets else model


def golden_objects(case: str) -> list[Manifest]:
    """Every object of one golden server as plain YAML; which archive its pods have is a matter of the release."""
    objects: list[Manifest] = json.loads(
        json.dumps(applied_objects(case)).replace(current_archive().name, ARCHIVE)
    )
    for obj in objects:
        if obj["kind"] == "Secret":
            obj["data"] = {
                key: base64.b64decode(value).decode().splitlines() for key, value in obj["data"].items()
            }
    return objects


def applied_objects(case: str) -> list[Manifest]:
    """Every object of one golden server, as the API server is given it."""
    server = golden_model(case)
    return [
        *build_objects(server),
        *objects_of_the_database(server),
        *objects_of_the_prefix(server),
        *objects_of_the_login(server),
    ]


def objects_of_the_database(server: ServerModel) -> list[Manifest]:
    """What comes in an order of its own: the Secret before anything else, the Job before the pods."""
    objects = []
    if isinstance(store := server.backend_store, PostgresBackend):
        login = credentials(login=f"{store.database}_a", rotated_for="monday")
        objects.append(database_secret(server, login, "(CA certificates)\n" if store.has_own_ca else None))
    if server.needs_migration_job:
        objects.append(build_migration_job(server))
    return objects


def objects_of_the_login(server: ServerModel) -> list[Manifest]:
    """What comes before pods and Jobs that let in only those who log in."""
    if server.login is None:
        return []
    known = login_credentials(rotated_for="monday")
    client = build_client_secret(server, None, known)
    sign_on = server.single_sign_on
    proxy = build_sign_on_secret(server, sign_on, known, "(CA certificates)\n") if sign_on else None
    return [build_auth_secret(server, known), *(one for one in (client, proxy) if one)]


def objects_of_the_prefix(server: ServerModel) -> list[Manifest]:
    """What comes in an order of its own: the Secrets first, a Job while the pods start, another one at the end."""
    if not isinstance(store := server.artifact_store, S3Artifacts):
        return []
    keys = artifact_keys(rotated_for="monday") if store.has_keys and not store.has_own_keys else None
    secrets = [build_client_secret(server, keys)]
    if keys or store.has_own_ca:
        secrets.append(build_artifacts_secret(server, store, keys, "(CA certificates)\n"))
    jobs = [build_artifact_check_job(server), build_artifact_deletion_job(server)]
    return [one for one in secrets if one] + jobs


def deployment_of(case: str) -> Manifest:
    """The Deployment of a golden server."""
    (deployment,) = (obj for obj in golden_objects(case) if obj["kind"] == "Deployment")
    return deployment


def as_it_goes_on(case: str) -> Manifest:
    """The Deployment of a golden server that the release before has made."""
    desired = deployment_of(case)
    return with_earlier_settings(desired, in_earlier_form(desired), golden_model(case))


def in_earlier_form(deployment: Manifest) -> Manifest:
    """A Deployment as the release before has made it, as far as what runs is kept like that."""
    template = deployment["spec"]["template"]
    pod = template["spec"] | {"affinity": template["spec"].get("affinity") or {}}
    if all(one.get("matchLabelKeys") for one in pod.get("topologySpreadConstraints", ())):
        pod.pop("topologySpreadConstraints", None)
    return deployment | {"spec": deployment["spec"] | {"template": template | {"spec": pod}}}


def pod_template_digest(deployment: Manifest) -> str:
    """A fingerprint of what the Deployment controller compares to decide whether to replace pods."""
    canonical = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def golden_file(case: str) -> Path:
    """The file with all objects of a golden server, or with what differs from those of a whole one."""
    return GOLDEN / "objects" / f"{case}.{'yaml' if case in WHOLE else 'diff'}"


def check_golden(path: Path, text: str) -> None:
    """Compare with the file, or write it."""
    if UPDATE:
        path.write_text(text)
    assert stored(path) == text, f"{path.name} differs: if that is wanted, run with UPDATE_GOLDEN=1"


def stored(path: Path) -> str:
    """The content of a golden file."""
    assert path.exists(), (
        f"{path.name} is missing: run the tests with UPDATE_GOLDEN=1 and review what they write"
    )
    return path.read_text()


def shortest_difference(case: str) -> str:
    """What makes the golden server of the whole one that it is nearest to, below the name of that one."""
    differences = (
        f"{BASE_MARK}{base}.yaml\n" + difference(objects_as_lines(base), objects_as_lines(case))
        for base in WHOLE
    )
    return min(differences, key=lambda text: text.count("\n"))


def objects_told_by_difference(text: str) -> str:
    """The YAML of every object of a server that is stored as a difference."""
    base, edits = text.removeprefix(BASE_MARK).split(".yaml\n", 1)
    assert base in WHOLE, f"{base} is not stored whole: only {', '.join(WHOLE)} are"
    objects = patched(objects_as_lines(base), edits)
    return "---\n".join("".join(f"{line}\n" for line in lines) for lines in objects.values())


def objects_as_lines(case: str) -> Objects:
    """The YAML of every object of a golden server, by a title."""
    objects = golden_objects(case)
    lines = {f"{one['kind']} {one['metadata']['name']}": as_yaml(one).splitlines() for one in objects}
    assert len(lines) == len(objects), f"two objects of {case} have one name"
    return lines


def as_yaml(*objects: Manifest) -> str:
    return yaml.safe_dump_all(objects, sort_keys=False, width=120)


@pytest.mark.parametrize("case", WHOLE)
def test_a_server_becomes_exactly_these_objects(case: str) -> None:
    check_golden(golden_file(case), as_yaml(*golden_objects(case)))


@pytest.mark.parametrize("case", OTHERS)
def test_a_server_differs_from_a_whole_one_in_exactly_this(case: str) -> None:
    path = golden_file(case)
    if UPDATE:
        path.write_text(shortest_difference(case))
    try:
        told = objects_told_by_difference(stored(path))
    except DoesNotApply as error:
        pytest.fail(f"{path.name}: {error} If that is wanted, run with UPDATE_GOLDEN=1.")
    assert told == as_yaml(*golden_objects(case)), (
        f"{path.name} tells of other objects: if that is wanted, run with UPDATE_GOLDEN=1"
    )


def test_an_upgrade_of_the_operator_rolls_nobody() -> None:
    digests = {case: pod_template_digest(as_it_goes_on(case)) for case in GOLDEN_SERVERS}
    check_golden(POD_TEMPLATE_DIGESTS, DIGESTS_HEADER + as_yaml(digests))


FORMER_POOLS = {"five-replicas-on-postgres": 3, "managed-stores-login-ingress": 2, "own-prefix": 3}
"""They were smaller where there were more replicas."""
FORMER_DIGESTS: dict[str, str] = yaml.safe_load(FORMER_POD_TEMPLATE_DIGESTS.read_text())


@pytest.mark.parametrize("case", FORMER_DIGESTS)
def test_the_former_layout_is_that_of_the_release_before_the_archive(case: str) -> None:
    former = in_former_layout(as_it_goes_on(case), golden_model(case).names.former_scripts)
    if case in FORMER_POOLS:
        former = with_pool(former, FORMER_POOLS[case])
    assert pod_template_digest(former) == FORMER_DIGESTS[case]


def test_every_golden_file_has_its_server() -> None:
    assert sorted((GOLDEN / "objects").iterdir()) == sorted(map(golden_file, GOLDEN_SERVERS))


@pytest.mark.parametrize("case", GOLDEN_SERVERS)
def test_building_twice_gives_equal_objects(case: str) -> None:
    assert build_objects(golden_model(case)) == build_objects(golden_model(case))


@pytest.mark.parametrize("case", GOLDEN_SERVERS)
def test_every_name_fits_a_label(case: str) -> None:
    longest = replace(golden_model(case), name="m" * 40, version="1000.1000.1000")
    objects = [*build_objects(longest), build_migration_job(longest)]
    assert all(len(obj["metadata"]["name"]) <= 63 for obj in objects)
