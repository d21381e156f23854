"""What a team tries where a class's templates give its server what they give another team's server of the same name.

The platform has written such a class. Teams choose the names of their servers, and nothing else.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Final

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.isolation.attempts import (
    Area,
    Book,
    CannotTryError,
    NotApplicable,
    Refused,
)
from tracking_operator.isolation.by_api.scene import ApiScene

Fields = Mapping[str, object]
"""What a class says otherwise, by path."""

BOOK: Final = Book[ApiScene](Area.NAMES)
DATABASE: Final[Fields] = {"naming.database": "shared_{{ name }}"}


def _server(scene: ApiScene, what: str) -> str:
    """The name of both teams' servers: another one in each attempt, as what an earlier one had is kept for it."""
    return f"{scene.mark}-{what}"


def _prefix(scene: ApiScene) -> Fields:
    """A prefix for all namespaces. Who had one in an earlier run keeps it, so that each run has its own."""
    return {"naming.artifactPrefix": f"shared-{scene.victim.own.namespace}/{{{{ name }}}}"}


def _require_own_stores(scene: ApiScene) -> None:
    """Raise NotApplicable if servers of the class have no database and no prefix of their own."""
    if not (scene.own.database and scene.own.prefix):
        raise NotApplicable("a server of this class has no database, or no prefix, of its own")


@BOOK.attempt(
    "own",
    "make a server of a class whose templates give all namespaces one database and one prefix",
    against="its own data",
    harmless=False,
)
async def come_first(scene: ApiScene) -> str:
    """The control: who comes first gets what the templates say."""
    _require_own_stores(scene)
    async with (
        scene.victim.class_like("names", {**DATABASE, **_prefix(scene)}) as theirs,
        theirs.a_server(_server(scene, "first")) as server,
    ):
        return f"it has {_database_of(server)} and prefix {_prefix_of(server)}"


@BOOK.attempt(
    "database",
    "make a server of the same name, whose database the template calls like the other's",
    against="another team's database",
    refusal=r"^it has a database of its own: shared_isolation_check_database_\w+, beside shared_isolation_check_database_\w+$",
    harmless=False,
)
async def share_a_database(scene: ApiScene) -> str:
    """Names of databases end in a hash of cluster, namespace and server."""
    first, second = await _both_ask(scene, "database", DATABASE)
    if _database_of(first) == _database_of(second):
        return f"both have database {_database_of(first)}"
    raise Refused(f"it has a database of its own: {_database_of(second)}, beside {_database_of(first)}")


@BOOK.attempt(
    "prefix",
    "make a server of the same name, which the template gives the other's prefix",
    against="another team's prefix",
    refusal="^PrefixTaken",
    harmless=False,
)
async def share_a_prefix(scene: ApiScene) -> str:
    """A mark in the bucket says whose a prefix is."""
    first, second = await _both_ask(scene, "prefix", _prefix(scene))
    return f"the other has prefix {_prefix_of(first)}, and it has {_prefix_of(second)}"


async def _both_ask(scene: ApiScene, what: str, fields: Fields) -> tuple[TrackingServer, TrackingServer]:
    """Have another team make a server and the attacker one of the same name. Raises Refused: the attacker's is."""
    _require_own_stores(scene)
    name = _server(scene, what)
    async with scene.class_like("names", fields) as mine, AsyncExitStack() as made:
        theirs = replace(scene.victim, class_name=mine.class_name)
        try:
            first = await made.enter_async_context(theirs.a_server(name))
        except Refused as error:
            raise CannotTryError(f"not even the first server is accepted: {error}") from error
        return first, await made.enter_async_context(mine.a_server(name))


def _database_of(server: TrackingServer) -> str:
    return server.status.database.name if server.status.database else ""


def _prefix_of(server: TrackingServer) -> str:
    return (server.status.artifact_store.prefix or "") if server.status.artifact_store else ""


TEMPLATES: Final[tuple[tuple[str, str, str, Fields], ...]] = (
    (
        "host",
        "another team's requests",
        "whose host is {{ name }}.example.com",
        {"naming.host": "{{ name }}.example.com"},
    ),
    (
        "joined-host",
        "another team's requests",
        "whose host is {{ name }}-{{ namespace }}.example.com",
        {"naming.host": "{{ name }}-{{ namespace }}.example.com"},
    ),
    (
        "role",
        "another team's rights in AWS",
        "whose IAM role is called mlflow-{{ name }}",
        {"s3.identity": {"irsa": {"roleArnTemplate": "arn:aws:iam::123456789012:role/mlflow-{{ name }}"}}},
    ),
    (
        "secret",
        "another server's keys",
        "whose Secret with keys is called `keys`",
        {"s3.identity": {"secret": {"nameTemplate": "keys"}}},
    ),
)


async def _ask_of(scene: ApiScene, fields: Fields) -> str:
    if "s3.identity" in fields:
        _require_own_stores(scene)
    async with scene.class_like("names", fields) as mine:
        await mine.ask_for({})
    return "the operator carries it out"


for _name, _against, _tried, _fields in TEMPLATES:
    BOOK.attempt(
        _name,
        f"make a server of a class {_tried}",
        against=_against,
        refusal="^AmbiguousTemplate",
        harmless=False,
    )(partial(_ask_of, fields=_fields))
