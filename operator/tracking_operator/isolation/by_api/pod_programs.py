"""What a team tries with the programs that its server's pods run: to change them, and to put its own in their place."""

import asyncio
import base64
import time
from typing import Final

from tracking_operator.api.labels_and_annotations import TOOLS_FILE
from tracking_operator.isolation.attempts import Area, Book, CannotTryError, Refused
from tracking_operator.isolation.by_api.scene import SECONDS_TO_ANSWER, ApiScene
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, KubeObject
from tracking_operator.resources.pod.tools import tools_of
from tracking_operator.resources.tools_archive import ToolsArchive, build_tools_config_map

BOOK: Final = Book[ApiScene](Area.KUBERNETES_OBJECTS)
PROGRAMS: Final = "the programs of its server's pods"
MINE: Final = ToolsArchive(base64.b64encode(b"mine").decode())
TRIES: Final = 20


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
    name, content = live["metadata"]["name"], live["binaryData"]
    await _put_in_its_place(scene, name)
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while time.monotonic() < deadline:
        again = await scene.tenant.get(CONFIG_MAP, scene.own.namespace, name)
        if again and again.get("binaryData") == content and again.get("immutable"):
            raise Refused("the archive is what its name says again")
        await asyncio.sleep(0.2)
    return "the archive is the team's"


async def _put_in_its_place(scene: ApiScene, name: str) -> None:
    """Be faster than the operator, which makes it anew as soon as it is told that it is gone."""
    mine = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": scene.own.namespace},
        "binaryData": {TOOLS_FILE: MINE.text},
        "immutable": True,
    }
    for _ in range(TRIES):
        await scene.tenant.delete(CONFIG_MAP, scene.own.namespace, name)
        try:
            await scene.tenant.create(mine)
        except ApiError:
            continue
        return
    raise Refused("the archive is what its name says: the operator is always faster")
