"""What a team tries with the programs that its server's pods run: to change them, and to put its own in their place."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import TOOLS_FILE
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.isolation.attempts import Area, Book, CannotTryError, Refused
from tracking_operator.isolation.by_api.scene import SECONDS_TO_ANSWER, ApiScene
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.json_patch import JsonPatchOperation
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, KubeObject
from tracking_operator.resources.pod.tools import tools_of
from tracking_operator.resources.tools_archive import ToolsArchive, build_tools_config_map

BOOK: Final = Book[ApiScene](Area.KUBERNETES_OBJECTS)
PROGRAMS: Final = "the programs of its server's pods"
MINE: Final = ToolsArchive(base64.b64encode(b"mine").decode())
TRIES: Final = 20
HOLD: Final = "example.com/held"


async def _archive(scene: ApiScene) -> KubeObject:
    """The archive that the server's pods have."""
    namespace = scene.own.namespace
    deployment = await scene.tenant.get(DEPLOYMENT, namespace, scene.own.server)
    name = tools_of(deployment) if deployment else None
    live = await scene.tenant.get(CONFIG_MAP, namespace, name) if name else None
    if live is None:
        raise CannotTryError("the server's pods have no archive")
    return live


@BOOK.attempt(
    "programs-changed", "change the archive in place", against=PROGRAMS, refusal="^422", harmless=False
)
async def change_in_place(scene: ApiScene) -> str:
    """It is immutable."""
    live = await _archive(scene)
    path = f"/binaryData/{TOOLS_FILE}"
    operations = [{"op": "replace", "path": path, "value": MINE.text}]
    await scene.tenant.json_patch(CONFIG_MAP, scene.own.namespace, live["metadata"]["name"], operations)
    return "the API server changed it"


@BOOK.attempt(
    "programs-of-its-own",
    "make an archive of its own, with the operator's labels, for its Deployment to name",
    against=PROGRAMS,
    refusal="^403",
)
async def pretend_to_be_an_archive(scene: ApiScene) -> str:
    """Only the operator sets labels of its group, and a Deployment with an archive without them is put right."""
    mine = build_tools_config_map(scene.own.namespace)
    metadata = mine["metadata"] | {"name": MINE.name}
    await scene.tenant.create(
        mine | {"metadata": metadata, "binaryData": {TOOLS_FILE: MINE.text}}, dry_run=True
    )
    return "the API server admits it"


@BOOK.attempt(
    "programs-replaced",
    "delete the archive, and make another one of its name",
    against=PROGRAMS,
    refusal="^the archive is what its name says",
    harmless=False,
)
async def replace_the_archive(scene: ApiScene) -> str:
    """The operator sees that the bytes are not those of the name."""
    live = await _archive(scene)
    await _put_in_its_place(scene, live, {"binaryData": {TOOLS_FILE: MINE.text}, "immutable": True})
    if await _is_there_again(scene, live):
        raise Refused("the archive is what its name says again")
    return "the archive is the team's"


@BOOK.attempt(
    "programs-beside-its-own",
    "delete the archive, and make one of its name that can be changed and holds files of its own, too",
    against=PROGRAMS,
    refusal="^the archive is what its name says",
    harmless=False,
)
async def add_to_the_archive(scene: ApiScene) -> str:
    """The operator may not make it right by a change, so it makes it anew."""
    live = await _archive(scene)
    await _put_in_its_place(scene, live, {"binaryData": live["binaryData"], "data": {"mine": "x"}})
    if await _is_there_again(scene, live):
        raise Refused("the archive is what its name says again")
    return "the archive is the team's"


@BOOK.attempt(
    "programs-held",
    "put another archive of its name in its place, and hold that with a finalizer",
    against=PROGRAMS,
    refusal="^the (server says what is in the way|archive is what its name says)",
    harmless=False,
)
async def hold_another_archive(scene: ApiScene) -> str:
    """Nothing new is made to run from it, and the server says what has to go."""
    live = await _archive(scene)
    mine = {"binaryData": {TOOLS_FILE: MINE.text}, "immutable": True}
    await _put_in_its_place(scene, live, mine, finalizers=[HOLD])
    name, said = live["metadata"]["name"], False
    try:
        said = await _until(lambda: _says_conflict(scene, name))
    finally:
        release: list[JsonPatchOperation] = [{"op": "remove", "path": "/metadata/finalizers"}]
        await scene.tenant.json_patch(CONFIG_MAP, scene.own.namespace, name, release)
    if said and await _is_there_again(scene, live):
        raise Refused("the server says what is in the way, and the archive is there again when that is gone")
    return "the archive is the team's" if said else "nobody says so"


async def _says_conflict(scene: ApiScene, name: str) -> bool:
    server = await scene.tenant.get(TRACKING_SERVER, scene.own.namespace, scene.own.server) or {}
    conditions = (server.get("status") or {}).get("conditions") or ()
    return any(one["reason"] == Reason.CONFLICT.value and name in one["message"] for one in conditions)


async def _is_there_again(scene: ApiScene, archive: KubeObject) -> bool:
    async def is_there() -> bool:
        again = await scene.tenant.get(CONFIG_MAP, scene.own.namespace, archive["metadata"]["name"]) or {}
        content = [again.get(field) for field in ("binaryData", "immutable", "data")]
        return content == [archive["binaryData"], True, None]

    return await _until(is_there)


async def _until(holds: Callable[[], Awaitable[bool]]) -> bool:
    """Whether something comes to hold in the time that the operator has to answer."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while time.monotonic() < deadline:
        if await holds():
            return True
        await asyncio.sleep(0.2)
    return False


async def _put_in_its_place(
    scene: ApiScene, archive: KubeObject, content: KubeObject, **metadata: list[str]
) -> None:
    """Be faster than the operator, which makes it anew as soon as it is told that it is gone."""
    name = archive["metadata"]["name"]
    mine = content | {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": scene.own.namespace, **metadata},
    }
    for _ in range(TRIES):
        await scene.tenant.delete(CONFIG_MAP, scene.own.namespace, name)
        try:
            await scene.tenant.create(mine)
        except ApiError:
            continue
        return
    raise Refused("the archive is what its name says: the operator is always faster")
