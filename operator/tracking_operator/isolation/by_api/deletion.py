"""What is left to a team whose server, or whose namespace, is gone."""

import asyncio
import re
import time
from dataclasses import replace
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import (
    API_VERSION,
    FORCE_ORPHAN_ANNOTATION,
    REVOKE_NOW_ANNOTATION,
)
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.isolation.attempts import Area, Book, By, CannotTryError, Refused, Seen, Verdict
from tracking_operator.isolation.by_api.scene import SECONDS_TO_GO, ApiScene
from tracking_operator.isolation.pods import Attacker
from tracking_operator.kube.objects import NAMESPACE, SECRET, KubeObject

BOOK: Final = Book[ApiScene](Area.DELETION)
FORMER_SERVER: Final = "the database of a server that was deleted"
FORMER: Final = "isolation-former"
KEPT: Final = "kept"
SECONDS_TO_SETTLE: Final = 90.0
NO_LOGIN: Final = "not permitted to log in|authentication failed"
LOGIN_GONE: Final = f"{NO_LOGIN}|does not exist|not currently accepting"
KEYS_GONE: Final = "InvalidAccessKeyId|AccessDenied|SignatureDoesNotMatch|Forbidden"
ORPHANING: Final[list[KubeObject]] = [
    {"op": "add", "path": "/spec/version", "value": "9.9.9"},
    {"op": "add", "path": "/metadata/annotations", "value": {FORCE_ORPHAN_ANNOTATION: "true"}},
]
BOTH_GONE: Final = f"^bucket: ({KEYS_GONE}); database: ({LOGIN_GONE})$"


async def _kept_secrets(scene: ApiScene, server: str = "") -> None:
    """Copy the credentials of a server, as somebody with a backup has them."""
    for what in ("database", "artifacts"):
        name, kept = f"{server or scene.own.server}-{what}", f"{KEPT}-{scene.own.server}-{what}"
        secret = await scene.tenant.get(SECRET, scene.own.namespace, name)
        if secret is None:
            raise CannotTryError(f"there is no Secret {name}")
        copy: KubeObject = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": kept, "namespace": scene.own.namespace},
            "data": secret["data"],
        }
        await scene.tenant.delete(SECRET, scene.own.namespace, kept)
        await scene.tenant.create(copy)


@BOOK.attempt(
    "own",
    "use the password and the keys of a server that is there",
    against="its own data",
    by=By.BACKUP,
    harmless=False,
)
async def use_a_backup(scene: ApiScene) -> str:
    """The control: what a backup has is good as long as nobody ends it."""
    await _kept_secrets(scene.victim)
    return "; ".join([f"{what}: {await _use_kept(scene, what)}" for what in ("bucket", "database")])


@BOOK.attempt(
    "revoked-password",
    "log in with the password of before revoke-now",
    against="the database of a server whose access was ended",
    by=By.BACKUP,
    refusal=NO_LOGIN,
    harmless=False,
)
async def log_in_with_a_revoked_password(scene: ApiScene) -> str:
    """What was handed out before is worth nothing, and the server has its data under another login."""
    await _kept_secrets(scene.victim)
    await _end_all_access(scene.victim)
    return await _use_kept(scene, "database")


@BOOK.attempt(
    "revoked-keys",
    "use the keys of before revoke-now",
    against="the prefix of a server whose access was ended",
    by=By.BACKUP,
    refusal=KEYS_GONE,
    harmless=False,
)
async def use_revoked_keys(scene: ApiScene) -> str:
    """Neither are the keys."""
    return await _use_kept(scene, "bucket")


async def _end_all_access(victim: ApiScene) -> None:
    """Annotate the server, and wait until the operator has recorded both stores. Raises CannotTryError: it does not."""
    name, asked = victim.own.server, f"{victim.mark}-{time.time():.0f}"
    metadata = {
        "name": name,
        "namespace": victim.own.namespace,
        "annotations": {REVOKE_NOW_ANNOTATION: asked},
    }
    await victim.tenant.apply({"apiVersion": API_VERSION, "kind": "TrackingServer", "metadata": metadata})

    def is_done(server: TrackingServer) -> bool:
        done = server.status.revocation
        return done is not None and done.backend_store == done.artifact_store == asked

    await victim.until(name, is_done, "revoked", SECONDS_TO_SETTLE)


@BOOK.attempt(
    "sessions",
    "keep a session open while the server is deleted with deletionPolicy Retain",
    against=FORMER_SERVER,
    by=By.FORMER,
    refusal="terminat|closed|no longer|not permitted",
    harmless=False,
)
async def keep_a_session(scene: ApiScene) -> str:
    """The data stays, and nobody goes on using it."""
    victim = scene.victim
    await _kept_secrets(victim)
    pod = await victim.pods.started("hold")
    try:
        await victim.remove(victim.own.server)
        ended = asyncio.create_task(victim.pods.ended(pod))
        done, _ = await asyncio.wait({ended}, timeout=20)
        if not done:
            ended.cancel()
            return "the session lives on, 20 s after the server is gone"
        found = ended.result()["session"]
    finally:
        await victim.pods.stop(pod)
    if found.verdict is Verdict.REFUSED:
        raise Refused(found.words)
    return found.words


@BOOK.attempt(
    "login",
    "log in with the password of the server that was deleted",
    against=FORMER_SERVER,
    by=By.FORMER,
    refusal=LOGIN_GONE,
    harmless=False,
)
async def log_in_again(scene: ApiScene) -> str:
    """Roles that nobody needs cannot log in."""
    return await _use_kept(scene, "database")


@BOOK.attempt(
    "keys",
    "use the keys of the server that was deleted",
    against="the prefix of a server that was deleted",
    by=By.FORMER,
    refusal=KEYS_GONE,
    harmless=False,
)
async def use_keys_again(scene: ApiScene) -> str:
    """Users of the object store that nobody needs are removed."""
    return await _use_kept(scene, "bucket")


async def _use_kept(scene: ApiScene, what: str) -> str:
    """Use credentials that are in a backup. Raises Refused: they no longer work."""
    kept = scene.victim.with_kept_credentials(KEPT)
    found = (await kept.run("login"))[what]
    return _what_was_done(found)


def _what_was_done(found: Seen) -> str:
    """What a pod has done. Raises Refused: it was refused. Raises CannotTryError: it could not try."""
    if found.verdict is Verdict.REFUSED:
        raise Refused(found.words)
    if found.verdict is Verdict.NOT_TRIED:
        raise CannotTryError(found.words)
    return found.words


@BOOK.attempt(
    "successor",
    "make a server of the same name, which has the data again",
    against="its own data",
    by=By.TENANT,
    harmless=False,
)
async def come_back(scene: ApiScene) -> str:
    """The control: what was retained is there for the same namespace."""
    victim = scene.victim
    await victim.tenant.create(victim.server(victim.own.server, {}))
    await victim.accepted(victim.own.server)
    server = await victim.until(victim.own.server, _has_a_login, "given a database", SECONDS_TO_SETTLE)
    if (name := server.status.database and server.status.database.name) != victim.own.database:
        raise CannotTryError(f"the successor has database {name}")
    found = (await victim.pods.run("login"))["database"]
    if found.verdict is not Verdict.DONE:
        raise CannotTryError(found.words)
    return "the successor has the database"


def _has_a_login(server: TrackingServer) -> bool:
    return server.status.database is not None and server.status.database.login_role is not None


@BOOK.attempt(
    "backup",
    "log in with the password that a backup has, while the successor runs",
    against="the data of the server's successor",
    by=By.BACKUP,
    refusal=NO_LOGIN,
    harmless=False,
)
async def log_in_with_a_backup(scene: ApiScene) -> str:
    """A successor has new credentials; those that were deleted with its predecessor stay dead."""
    return await _use_kept(scene, "database")


@BOOK.attempt(
    "force-orphan",
    "make a server impossible to delete, set force-orphan and deletionPolicy Delete, and use its credentials",
    against="the data of a server that was let go",
    by=By.FORMER,
    refusal=BOTH_GONE,
    harmless=False,
)
async def force_an_orphan(scene: ApiScene) -> str:
    """The annotation leaves data behind, and no access. Objects need a Job, which a refused specification has none of."""
    async with (
        scene.victim.class_like("former", {"permissions.deletionPolicyDelete": True}) as victim,
        victim.a_server(FORMER, {"deletionPolicy": "Delete"}) as server,
    ):
        kept = await _backup_of(victim, server)
        _what_was_done((await kept.run("leave"))["leave"])
        await victim.tenant.json_patch(TRACKING_SERVER, victim.own.namespace, FORMER, ORPHANING)
        await victim.remove(FORMER)
        return await _until_nothing_works(kept)


@BOOK.attempt(
    "finalizer",
    "take the operator's finalizer off and put one of its own on, delete the server, and use its credentials",
    against="the data of a server that is being deleted",
    by=By.FORMER,
    refusal=BOTH_GONE,
    harmless=False,
)
async def take_the_finalizer_off(scene: ApiScene) -> str:
    """Whoever may write a server writes its finalizers. Nothing waits for the operator then, and it comes all the same."""
    victim = scene.victim
    async with victim.a_server(FORMER) as server:
        kept = await _backup_of(victim, server)
        mine = [f"{victim.mark}.example.com/mine"]
        try:
            await _set_finalizers(victim, mine)
            await victim.tenant.delete(TRACKING_SERVER, victim.own.namespace, FORMER)
            await _set_finalizers(victim, mine)  # it may have come back before the deletion
            return await _until_nothing_works(kept)
        finally:
            await _set_finalizers(victim, [])


async def _backup_of(scene: ApiScene, server: TrackingServer) -> Attacker:
    """Who has the credentials of a server. Raises CannotTryError: they do not even work while it is there."""
    await _kept_secrets(scene, server.metadata.name)
    kept, store = scene.with_kept_credentials(KEPT), server.status.artifact_store
    prefix = (store.prefix or "") if store else ""
    kept = replace(kept, scene=replace(kept.scene, own=replace(kept.scene.own, prefix=prefix)))
    for what, found in (await kept.run("login")).items():
        if found.verdict is not Verdict.DONE:
            raise CannotTryError(f"{what} of a server that is there: {found.words}")
    return kept


async def _until_nothing_works(kept: Attacker) -> str:
    """Use credentials until both stores refuse them. Raises Refused: they do, for the reasons that are named."""
    deadline = time.monotonic() + SECONDS_TO_SETTLE
    while True:
        found = await kept.run("login")
        if all(one.verdict is Verdict.REFUSED for one in found.values()):
            raise Refused("; ".join(f"{what}: {_reason_in(found[what])}" for what in sorted(found)))
        if time.monotonic() > deadline:
            return "; ".join(f"{what}: {one.words}" for what, one in found.items())


def _reason_in(found: Seen) -> str:
    """The words of a refusal that count, if it has some."""
    reason = re.search(f"{KEYS_GONE}|{LOGIN_GONE}", found.words)
    return reason[0] if reason else found.words


async def _set_finalizers(scene: ApiScene, finalizers: list[str]) -> None:
    change: KubeObject = {"op": "add", "path": "/metadata/finalizers", "value": finalizers}
    await scene.tenant.json_patch(TRACKING_SERVER, scene.own.namespace, FORMER, [change])


@BOOK.attempt(
    "forbidden-delete",
    "set deletionPolicy: Delete, which the class forbids, and delete the server",
    against="data that the class says has to stay",
    refusal="^the database is still there",
    harmless=False,
)
async def delete_what_has_to_stay(scene: ApiScene) -> str:
    """What the class forbids is forbidden at deletion as well."""
    victim = scene.victim
    name, namespace = victim.own.server, victim.own.namespace
    change: KubeObject = {"op": "add", "path": "/spec/deletionPolicy", "value": "Delete"}
    await victim.tenant.json_patch(TRACKING_SERVER, namespace, name, [change])
    await victim.remove(name)
    there = replace(scene.pods, scene=replace(scene.pods.scene, other=victim.own))
    found = (await there.run("exists"))["exists"]
    return _what_was_done(found)


@BOOK.attempt(
    "namespace",
    "delete the namespace, make one of the same name, and a server of the same name in it",
    against="the data of an earlier namespace",
    by=By.FORMER,
    refusal="Conflict|PrefixTaken|earlier namespace",
    harmless=False,
)
async def come_in_anothers_name(scene: ApiScene) -> str:
    """A namespace of the same name made later is somebody else's."""
    victim = scene.victim
    namespace = victim.own.namespace
    live = await scene.platform.get(NAMESPACE, None, namespace)
    if live is None:
        raise CannotTryError("the namespace is gone")
    labels = {
        key: value
        for key, value in live["metadata"].get("labels", {}).items()
        if "kubernetes.io/metadata" not in key
    }
    await scene.platform.delete(NAMESPACE, None, namespace)
    deadline = time.monotonic() + SECONDS_TO_GO
    while await scene.platform.get(NAMESPACE, None, namespace) is not None:
        if time.monotonic() > deadline:
            raise CannotTryError("the namespace does not go away")
        await asyncio.sleep(0.3)
    await scene.platform.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    )
    await scene.platform.create(victim.server(victim.own.server, {}))
    # Nobody is bound to a role in the new namespace.
    successor = await replace(victim, tenant=scene.platform).until(
        victim.own.server,
        lambda found: _conflict_in(found) or _has_its_database(found),
        "judged",
        SECONDS_TO_SETTLE,
    )
    if conflict := _conflict_in(successor):
        raise Refused(conflict)
    return "the new namespace's server has the old one's database"


def _conflict_in(server: TrackingServer) -> str:
    """The operator's words about data that is somebody else's; empty while there are none."""
    conflicts = (Reason.CONFLICT, Reason.PREFIX_TAKEN)
    said = [f"{one.reason}: {one.message}" for one in server.status.conditions if one.reason in conflicts]
    return said[0] if said else ""


def _has_its_database(server: TrackingServer) -> bool:
    """By the condition: the Secret's password is written down before PostgreSQL hears of it."""
    store = server.status.condition(ConditionType.BACKEND_STORE_READY)
    return store is not None and store.is_true and store.observed_generation == server.metadata.generation
