"""How pods get at our programs: the archive's ConfigMap as a volume, and command lines that start them from it.

A Deployment or Job that exists goes on with the archive that it was made with: see ``like``. Pure.
"""

from collections.abc import Mapping
from typing import Final

from tracking_operator.api.labels_and_annotations import TOOLS_FILE
from tracking_operator.pod_tools import programs
from tracking_operator.resources.server_model import KubeObject
from tracking_operator.resources.tools_archive import current_archive

TOOLS_VOLUME: Final = "tools"
TOOLS_PATH: Final = "/opt/tracking-operator"
ARCHIVE_PATH: Final = f"{TOOLS_PATH}/{TOOLS_FILE}"

START: Final = ("python3", "-I", ARCHIVE_PATH, programs.IN_CLEAN_ENVIRONMENT)
"""How each command line of ours begins: whatever it starts gets the variables that it is meant to have."""


def command_line(options: list[str], program: str, *arguments: str) -> list[str]:
    """Start a program in a clean environment; more arguments may follow."""
    return [*START, *options, "--", program, *arguments]


def tools_volume() -> KubeObject:
    """The volume with the archive of this release."""
    return _volume(current_archive().name)


def _volume(config_map: str) -> KubeObject:
    return {"name": TOOLS_VOLUME, "configMap": {"name": config_map}}


def mounted_config_maps(obj: KubeObject) -> frozenset[str]:
    """The ConfigMaps that the pods of a Deployment or Job mount as volumes."""
    volumes = _pod_of(obj).get("volumes") or ()
    sources = [volume.get("configMap") or {} for volume in volumes]
    return frozenset(source["name"] for source in sources if source.get("name"))


def tools_of(obj: KubeObject) -> str | None:
    """The ConfigMap from which the pods of a Deployment or Job have our programs; None where that is another layout's."""
    for volume in _pod_of(obj).get("volumes") or ():
        if volume["name"] == TOOLS_VOLUME:
            name: str | None = (volume.get("configMap") or {}).get("name")
            return name
    return None


def needs_archive(obj: KubeObject) -> bool:
    """Whether pods that this Deployment or Job starts now cannot do so without this release's archive."""
    return tools_of(obj) == current_archive().name and obj["spec"].get("replicas") != 0


def with_tools(obj: KubeObject, config_map: str) -> KubeObject:
    """The same Deployment or Job with the programs of another ConfigMap."""
    volumes = [
        _volume(config_map) if volume["name"] == TOOLS_VOLUME else volume
        for volume in _pod_of(obj).get("volumes") or ()
    ]
    return _with_pod(obj, {**_pod_of(obj), "volumes": volumes})


# Until there was an archive, each server had a ConfigMap with the programs as files. Whoever runs like that goes on.

FORMER_VOLUME: Final = "scripts"
FORMER_START: Final = ("python", "-I", f"{TOOLS_PATH}/in_clean_environment.py")
FORMER_NAMES: Final[Mapping[str, str]] = {
    programs.CHECK_ARTIFACT_STORE: "check_artifact_store.py",
    programs.CHECK_BACKEND_STORE: "check_backend_store.py",
    programs.DELETE_ARTIFACTS: "delete_artifacts.py",
    programs.MIGRATE_BACKEND_STORE: "migrate_backend_store.py",
    programs.START_SERVER: "start_server.py",
}


def in_former_layout(obj: KubeObject, config_map: str) -> KubeObject:
    """The same Deployment or Job as the operator wrote it before there was an archive."""
    pod = _pod_of(obj)
    volumes = [
        {"name": FORMER_VOLUME, "configMap": {"name": config_map}}
        if volume["name"] == TOOLS_VOLUME
        else volume
        for volume in pod.get("volumes") or ()
    ]
    containers: KubeObject = {
        kind: [_former_container(one) for one in pod[kind]]
        for kind in ("initContainers", "containers")
        if kind in pod
    }
    return _with_pod(obj, {**pod, **containers, "volumes": volumes})


def _former_container(container: KubeObject) -> KubeObject:
    command = list(container.get("command") or ())
    if tuple(command[: len(START)]) != START:
        return container
    mounts = [
        mount | {"name": FORMER_VOLUME} if mount["name"] == TOOLS_VOLUME else mount
        for mount in container["volumeMounts"]
    ]
    end = command.index("--")
    program, *arguments = command[end + 1 :]
    # A program that did not exist then has no other name: the template differs, and the server is rolled.
    former = [*FORMER_START, *command[len(START) : end], "--", FORMER_NAMES.get(program, program), *arguments]
    return container | {"command": former, "volumeMounts": mounts}


def like(live: KubeObject, obj: KubeObject, former_config_map: str) -> KubeObject:
    """A Deployment or Job with the programs that a live one has, in the layout that this one has."""
    if found := tools_of(live):
        return with_tools(obj, found)
    is_former = former_config_map in mounted_config_maps(live)
    return in_former_layout(obj, former_config_map) if is_former else obj


def _pod_of(obj: KubeObject) -> KubeObject:
    pod: KubeObject = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
    return pod


def _with_pod(obj: KubeObject, pod: KubeObject) -> KubeObject:
    template = obj["spec"]["template"] | {"spec": pod}
    return obj | {"spec": obj["spec"] | {"template": template}}
