"""What a team tries with backups: those of others, and fields of its own that would lead to another team's.

What is stored is in the bucket, whose rows are with those of the bucket.
"""

from typing import Any, Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER_BACKUP
from tracking_operator.isolation.attempts import Area, Book, NotApplicable, Refused
from tracking_operator.isolation.by_api.requests import Acts, add_requests
from tracking_operator.isolation.by_api.scene import ApiScene
from tracking_operator.kube.objects import KubeObject

BOOK: Final = Book[ApiScene](Area.BACKUPS)
OTHERS: Final = "another team's namespace"
OTHERS_DATA: Final = "another team's backup"
OWN_BACKUP: Final = "its own backup"


def _backup(namespace: str, name: str, server: str) -> KubeObject:
    """A backup of a server's database alone."""
    return {
        "apiVersion": API_VERSION,
        "kind": TRACKING_SERVER_BACKUP.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"serverRef": {"name": server}, "artifacts": "None"},
    }


@BOOK.attempt("own", "list its backups, and ask for another one", against=OWN_BACKUP)
async def use_own(scene: ApiScene) -> str:
    """The control: all of this is allowed in the own namespace."""
    await scene.tenant.list(TRACKING_SERVER_BACKUP, scene.own.namespace)
    await scene.tenant.create(_backup(scene.own.namespace, scene.mark, scene.own.server), dry_run=True)
    return "did all of it"


def _acts(scene: ApiScene) -> Acts:
    """Requests that RBAC has to refuse, whether there is such a backup or not, by their rows' names."""
    tenant, other = scene.tenant, scene.other
    folder: Any = [{"op": "add", "path": "/status", "value": {"folder": ".tracking-operator/backups/"}}]
    keep: Any = [{"op": "add", "path": "/spec/deletionPolicy", "value": "Delete"}]
    return {
        "list": lambda: tenant.list(TRACKING_SERVER_BACKUP, other.namespace),
        "list-everywhere": lambda: tenant.list(TRACKING_SERVER_BACKUP),
        "read": lambda: tenant.get(TRACKING_SERVER_BACKUP, other.namespace, scene.mark),
        "make": lambda: tenant.create(_backup(other.namespace, scene.mark, other.server), dry_run=True),
        "change": lambda: tenant.json_patch(TRACKING_SERVER_BACKUP, other.namespace, scene.mark, keep),
        "delete": lambda: tenant.delete(TRACKING_SERVER_BACKUP, other.namespace, scene.mark),
        "write-status": lambda: tenant.json_patch(
            TRACKING_SERVER_BACKUP, scene.own.namespace, scene.mark, folder, subresource="status"
        ),
    }


REQUESTS: Final = (
    ("list", "list its backups", OTHERS),
    ("list-everywhere", "list the backups of all namespaces", "all teams"),
    ("read", "read a backup", OTHERS),
    ("make", "have its server backed up", OTHERS),
    ("change", "have what is stored removed with a backup", OTHERS),
    ("delete", "delete a backup", OTHERS),
    ("write-status", "write where it is stored, into the status", OWN_BACKUP),
)


add_requests(BOOK, REQUESTS, _acts)


@BOOK.attempt(
    "server-elsewhere",
    "make a backup of a server in another namespace",
    against="another team's data",
    refusal="^4|the namespace is dropped",
)
async def name_a_server_elsewhere(scene: ApiScene) -> str:
    """References are names, in the backup's own namespace."""
    backup = _backup(scene.own.namespace, scene.mark, scene.other.server)
    backup["spec"]["serverRef"]["namespace"] = scene.other.namespace
    created = await scene.tenant.create(backup, dry_run=True)
    if "namespace" not in created["spec"]["serverRef"]:
        raise Refused("the namespace is dropped: the name is one of its own namespace")
    return "the reference is stored"


@BOOK.attempt(
    "status-at-creation",
    "make a backup that is Complete and stored in another team's folder",
    against=OTHERS_DATA,
    refusal="the status is dropped",
)
async def bring_a_status(scene: ApiScene) -> str:
    """The API server drops it: the status is a subresource."""
    backup = _backup(scene.own.namespace, scene.mark, scene.own.server)
    status = {"folder": ".tracking-operator/backups/theirs/", "className": scene.class_name}
    created = await scene.tenant.create(backup | {"status": status}, dry_run=True)
    if not created.get("status"):
        raise Refused("the status is dropped")
    return "the status is stored"


@BOOK.attempt(
    "start-from",
    "start a server from a backup that another team has",
    against=OTHERS_DATA,
    refusal=f"^{Reason.BACKUP_NOT_FOUND.value}",
    harmless=False,
)
async def start_from_anothers(scene: ApiScene) -> str:
    """A server finds backups in its own namespace only."""
    if not (scene.own.database and scene.own.prefix):
        raise NotApplicable("a server of this class has no database, or no prefix, of its own")
    name = f"{scene.mark}-theirs"
    await scene.platform.create(_backup(scene.other.namespace, name, scene.other.server))
    try:
        return await _started_from(scene, name)
    finally:
        await scene.platform.delete(TRACKING_SERVER_BACKUP, scene.other.namespace, name)


async def _started_from(scene: ApiScene, backup: str) -> str:
    """How the operator answers to a server that shall start from a backup. Raises Refused."""
    name = "isolation-restored"
    spec: KubeObject = {"suspend": False, "bootstrap": {"fromBackup": {"name": backup}}}
    await scene.tenant.create(scene.server(name, spec))
    try:
        server = await scene.until(name, lambda found: _not_found(found) or found.status.replicas, "answered")
    finally:
        await scene.remove(name)
    if said := _not_found(server):
        raise Refused(said)
    return "the server serves"


def _not_found(server: TrackingServer) -> str:
    """What the operator says of a backup that is not there; empty while it says nothing of it."""
    said = (f"{one.reason}: {one.message}" for one in server.status.conditions)
    return next((words for words in said if words.startswith(Reason.BACKUP_NOT_FOUND.value)), "")
