"""Which folder may know which, read from the imports.

Two tables are the rule: ORDER, in which imports only go downwards, and ROOMS, which says of each room what it knows at all.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tracking_operator.resources.tools_archive import FOLDER, SHARED, own_sources

SOURCE_ROOT = Path(__file__).parents[2] / "operator"
PACKAGE = "tracking_operator"

FAILURES = {"failures"}
OUTCOMES = {"outcomes", "store_answers"}
"""Tables that the pods' scripts carry with them."""
REMOVAL = {"object_removal"}
"""They and the admin remove objects alike."""
STORES = {"stores"}
POD_ENVIRONMENT = {"pod_tools.in_clean_environment", "pod_tools.programs"}
"""What a program finds in a container is said once, by the one that cleans it up; and so is what programs are called."""
BACKUP_FORMAT = {"pod_tools.backup_manifest"}
"""What a stored backup consists of: pods write and read it, and the operator looks whether all of it is there."""
MARKS_AND_CONDITIONS = {"api.labels_and_annotations", "api.conditions"}
STORE_DRIVERS = {"psycopg2", "boto3", "botocore"}
TYPES_OF_BOTO3 = {"types_boto3_s3", "types_boto3_iam"}
"""Read by the type checker only."""


@dataclass(frozen=True)
class Room:
    """One row of the table: other libraries, and other rooms (or single modules of theirs)."""

    libraries: frozenset[str] = frozenset()
    rooms: frozenset[str] = frozenset()


def room(*libraries: str, rooms: set[str] | None = None) -> Room:
    return Room(frozenset(libraries), frozenset(rooms or ()))


ORDER = (
    "object_removal",
    "outcomes",
    "store_answers",
    "foreign_text",
    "schedule",
    "api",
    "failures",
    "passwords",
    "shares",
    "timings",
    "naming",
    "pod_tools",
    "stores",
    "mlflow",
    "kube",
    "resources.destinations",
    "resources.stores",
    "resources",
    "controllers.kinds",
    "controllers.request",
    "controllers.gateway_api",
    "controllers.conditions",
    "controllers.server_class",
    "controllers.server.children",
    "controllers.server.report",
    "controllers.server.sleep",
    "controllers.server.spec",
    "controllers.server.address",
    "controllers.server.plan",
    "controllers.server.sleep.idle",
    "controllers.server.garbage",
    "controllers.server.usage",
    "controllers.server.managed_stores.states",
    "controllers.server.managed_stores.credentials_cycle",
    "controllers.server.database",
    "controllers.server.artifacts",
    "controllers.server.exposure",
    "controllers.server.login",
    "controllers.server.workload",
    "controllers.server.revocation",
    "controllers.server.clients",
    "controllers.server.maintenance",
    "controllers.server.context",
    "controllers.server.managed_stores.interface",
    "controllers.server.managed_stores.store_of_server",
    "controllers.server.database.managed_store",
    "controllers.server.artifacts.managed_store",
    "controllers.server.managed_stores",
    "controllers.server.usage.step",
    "controllers.server.sleep.step",
    "controllers.server.garbage.step",
    "controllers.server.maintenance.step",
    "controllers.server.login.step",
    "controllers.server.exposure.step",
    "controllers.server.clients.step",
    "controllers.server.workload.model",
    "controllers.server.workload.pod_gates",
    "controllers.server.workload.apply",
    "controllers.server.deletion",
    "controllers.server.planning",
    "controllers.server.status",
    "controllers.server.records",
    "controllers.server.reporting",
    "controllers.server.deletion.step",
    "controllers.server",
    "controllers.server_class.reconciler",
    "controllers.backup",
    "controllers.client",
    "controllers",
    "isolation",
    "runtime",
    "cli",
    "__main__",
)
"""Folders, and single files between them, from the lowest up: each imports from its own and from those above it in this list.

``server.context`` has a part of each folder's, so that the steps, which take it, stand over it, beside what is below it.
``server_class.reconciler`` stands over ``server``, although the rest of its folder is below: servers read what their class
offers, and the class's own loop asks of its templates what servers ask of them.
"""

ROOMS = {
    "object_removal": room("botocore", "types_boto3_s3"),
    "outcomes": room(),
    "store_answers": room(),
    "foreign_text": room(),
    "schedule": room("cronsim"),
    "api": room("pydantic", rooms={"foreign_text", "outcomes", "schedule"}),
    "failures": room(rooms={"api.conditions", "outcomes"}),
    "passwords": room(),
    "shares": room(),
    "timings": room(),
    "naming": room("jinja2"),
    "pod_tools": room(
        "prometheus_client",
        "psycopg2",
        "sqlalchemy",
        "boto3",
        "botocore",
        "mlflow",
        "anyio",
        "flask",
        "starlette",
        "types_boto3_s3",
        "urllib3",
        "werkzeug",
        rooms=OUTCOMES | REMOVAL,
    ),
    "stores": room(),
    "stores.executor": room(rooms={"api.conditions", "shares"} | FAILURES),
    "stores.postgres": room(
        "psycopg2",
        rooms={"api.conditions", "api.tracking_server_class", "foreign_text"}
        | {"stores.ownership_mark", "stores.ca_files", "store_answers"}
        | FAILURES,
    ),
    "stores.s3": room(
        "boto3",
        "botocore",
        *TYPES_OF_BOTO3,
        rooms={"api.conditions", "api.s3_connection", "api.tracking_server_class", "passwords", "shares"}
        | {"stores.ownership_mark", "stores.ca_files", "store_answers"}
        | REMOVAL
        | BACKUP_FORMAT
        | FAILURES,
    ),
    "mlflow": room("aiohttp", rooms={"shares", "foreign_text"} | POD_ENVIRONMENT),
    "kube": room("kubernetes", "aiohttp", rooms=MARKS_AND_CONDITIONS | FAILURES | {"shares", "foreign_text"}),
    "resources": room(
        rooms={"api", "naming", "stores.postgres.pool", "kube.quantities", "outcomes"}
        | POD_ENVIRONMENT
        | FAILURES
    ),
    "controllers": room(
        "pydantic",
        rooms={
            "api",
            "naming",
            "resources",
            "kube",
            "mlflow",
            "passwords",
            "outcomes",
            "schedule",
            "shares",
            "timings",
        }
        | STORES
        | POD_ENVIRONMENT
        | BACKUP_FORMAT
        | FAILURES,
    ),
    "isolation": room(rooms={"api", "kube", "resources", "controllers.kinds"}),
    "isolation.attempts": room(),
    "isolation.in_pod": room("psycopg2", "boto3", "botocore", *TYPES_OF_BOTO3, rooms={"isolation.attempts"}),
    "runtime": room(
        "kopf",
        "kubernetes",
        "aiohttp",
        "pydantic",
        "pydantic_settings",
        "prometheus_client",
        rooms={
            "api",
            "kube",
            "mlflow",
            "stores.executor",
            "controllers",
            "shares",
            "foreign_text",
            "timings",
        },
    ),
    "cli": room(
        "pydantic",
        "yaml",
        "argcomplete",
        rooms={"api", "naming", "resources", "kube", "controllers", "runtime", "isolation"}
        | {"foreign_text", "outcomes"}
        | FAILURES,
    ),
    "__main__": room(rooms={"cli"}),
}

STORE_KINDS = "resources.stores"
SWITCHES_ON_STORES: dict[str, int] = {}
"""Where code asks which store a server has, instead of asking the store (decision 0043): nowhere."""

LIBRARIES_OF_SINGLE_MODULES = {"api.crds": {"yaml"}}
"""Only the rendering of the CRDs writes YAML; the models themselves are pydantic and nothing else."""

PURE_ROOMS = (
    "api",
    "naming",
    "failures",
    "outcomes",
    "store_answers",
    "foreign_text",
    "schedule",
    "stores.ownership_mark",
    "resources",
    "controllers",
)
"""Time, randomness and the environment are passed in."""

IMPURE_CALLS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.monotonic",
    "time.sleep",
    "os.environ",
    "os.getenv",
    "uuid.uuid4",
    "uuid4",
    "asyncio.sleep",
}
IMPURE_MODULES = {"random", "secrets"}


@dataclass(frozen=True)
class Module:
    """One source file, by its dotted name inside the package."""

    name: str
    path: Path

    @property
    def room(self) -> str:
        """The most specific room that the module is in; empty for the package itself."""
        return most_specific(self.name, ROOMS)

    @property
    def tree(self) -> ast.Module:
        """The parsed source."""
        return ast.parse(self.path.read_text(), str(self.path))

    def imports(self) -> Iterator[str]:
        """Every module that this one imports, wherever in the file, by its full name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.name} imports relatively"
                assert node.module is not None
                yield from (self._imported(node.module, alias.name) for alias in node.names)

    @staticmethod
    def _imported(module: str, name: str) -> str:
        """`from package import module` imports the module, not a name in the package."""
        return f"{module}.{name}" if f"{module}.{name}" in FULL_NAMES else module


def modules() -> list[Module]:
    found = []
    for path in sorted((SOURCE_ROOT / PACKAGE).rglob("*.py")):
        parts = list(path.relative_to(SOURCE_ROOT / PACKAGE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        found.append(Module(".".join(parts), path))
    return found


MODULES = modules()
FULL_NAMES = {f"{PACKAGE}.{module.name}" for module in MODULES}


def is_within(name: str, places: frozenset[str] | set[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def most_specific(name: str, places: Iterable[str]) -> str:
    """The innermost of the places that a module is in; empty if it is in none."""
    return max((place for place in places if is_within(name, {place})), key=len, default="")


def height(name: str) -> int:
    """How far up in ORDER a module is."""
    return ORDER.index(most_specific(name, ORDER))


def climbing_imports(module: Module) -> list[str]:
    """What the module imports from above it."""
    own = [name.partition(".")[2] for name in module.imports() if is_within(name, {PACKAGE})]
    return [name for name in own if name and height(name) > height(module.name)]


def forbidden_imports(module: Module) -> list[str]:
    """What the module imports although its room may not."""
    mine = ROOMS[module.room]
    libraries = mine.libraries | LIBRARIES_OF_SINGLE_MODULES.get(module.name, set())
    wrong = []
    for imported in module.imports():
        library = imported.partition(".")[0]
        if library == PACKAGE:
            inside = imported.partition(".")[2]
            if not is_within(inside, mine.rooms | {module.room}):
                wrong.append(imported)
        elif library not in sys.stdlib_module_names | libraries:
            wrong.append(imported)
    return wrong


def test_every_module_is_in_a_room() -> None:
    assert [module.name for module in MODULES if module.name and not module.room] == []


@pytest.mark.parametrize("module", [one for one in MODULES if one.room], ids=lambda module: module.name)
def test_a_module_imports_only_what_its_room_may(module: Module) -> None:
    assert forbidden_imports(module) == []


@pytest.mark.parametrize(
    ("library", "room"),
    [
        ("kopf", "runtime"),
        ("prometheus_client", "runtime"),
        ("psycopg2", "stores.postgres"),
        ("botocore", "stores.s3"),
    ],
)
def test_only_one_room_knows(library: str, room: str) -> None:
    users = {module.room for module in MODULES for name in module.imports() if is_within(name, {library})}
    assert users - {"object_removal", "pod_tools", "isolation.in_pod"} <= {room}


@pytest.mark.parametrize("module", [one for one in MODULES if one.name], ids=lambda module: module.name)
def test_imports_only_go_downwards(module: Module) -> None:
    assert climbing_imports(module) == []


def test_the_order_names_what_there_is() -> None:
    assert [name for name in ORDER if not any(is_within(module.name, {name}) for module in MODULES)] == []


def test_nobody_but_the_command_line_imports_the_runtime() -> None:
    users = {
        module.room
        for module in MODULES
        for name in module.imports()
        if is_within(name, {f"{PACKAGE}.runtime"})
    }
    assert users <= {"runtime", "cli"}


def test_the_control_loop_speaks_to_other_systems_only_through_their_rooms() -> None:
    outside = STORE_DRIVERS | {"kopf", "kubernetes", "aiohttp"}
    loop = [module for module in MODULES if module.room == "controllers"]
    assert [name for module in loop for name in module.imports() if is_within(name, outside)] == []


def test_the_archive_for_pods_has_all_that_is_imported_in_it() -> None:
    tools = [module for module in MODULES if module.room == FOLDER]
    packed = {name.removeprefix(f"{PACKAGE}/") for name in own_sources()} - {"__main__.py"}
    assert packed == {f"{FOLDER}/{tool.path.name}" for tool in tools} | set(SHARED)
    used = {name for tool in tools for name in tool.imports() if is_within(name, {PACKAGE})}
    beside = {f"{PACKAGE}.{name.removesuffix('.py')}" for name in SHARED}
    assert [name for name in used if not is_within(name, {f"{PACKAGE}.{FOLDER}", *beside})] == []


def test_the_source_root_is_no_package() -> None:
    # A package named `operator` would shadow the standard library's module.
    assert not (SOURCE_ROOT / "__init__.py").exists()


@pytest.mark.parametrize(
    "module",
    [one for one in MODULES if is_within(one.name, set(PURE_ROOMS))],
    ids=lambda module: module.name,
)
def test_pure_code_asks_neither_clock_nor_dice_nor_environment(module: Module) -> None:
    used = {ast.unparse(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute | ast.Name)}
    assert used & IMPURE_CALLS == set()
    assert set(module.imports()) & IMPURE_MODULES == set()


def stores_of_all_kinds() -> set[str]:
    """The classes in the stores' folder that are made from what the interface names."""
    inside = [module for module in MODULES if is_within(module.name, {STORE_KINDS})]
    classes = [node for module in inside for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    interfaces = {"BackendStore", "ArtifactStore"}
    return {one.name for one in classes if {ast.unparse(base) for base in one.bases} & interfaces}


def switches_on(names: set[str], source: ast.Module) -> int:
    """How often a module asks whether something is one of these classes: each class that it names counts."""
    count = 0
    for node in ast.walk(source):
        if isinstance(node, ast.MatchClass):
            asked: list[ast.AST] = [node.cls]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass", "type"):
            asked = list(node.args[1:])
        else:
            continue
        inside = [part for one in asked for part in ast.walk(one)]
        count += sum(ast.unparse(one).rpartition(".")[2] in names for one in inside if is_a_name(one))
    return count


def is_a_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def test_nobody_asks_which_store_a_server_has() -> None:
    kinds = stores_of_all_kinds()
    assert {"PostgresBackend", "SqliteBackend", "S3Artifacts", "VolumeArtifacts"} < kinds
    outside = [module for module in MODULES if not is_within(module.name, {STORE_KINDS})]
    found = {module.name: count for module in outside if (count := switches_on(kinds, module.tree))}
    assert found == SWITCHES_ON_STORES, "ask the store"


def test_switches_on_stores_are_seen_however_they_are_written() -> None:
    text = """
match store:
    case S3Artifacts(secret=str()) | kinds.VolumeArtifacts():
        pass
isinstance(store, S3Artifacts | VolumeArtifacts)
isinstance(store, (S3Artifacts, Other))
"""
    assert switches_on({"S3Artifacts", "VolumeArtifacts"}, ast.parse(text)) == 5
