"""Making all attempts: two teams' servers, their credentials, the pods, the requests; and taking all of it away again."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.isolation.attempts import (
    Area,
    Attempt,
    Book,
    CannotTryError,
    NotApplicable,
    Refused,
    Row,
    Seen,
    Verdict,
)
from tracking_operator.isolation.by_api import (
    addresses,
    backups,
    clients,
    deletion,
    denial_of_service,
    kubernetes_objects,
    localhost,
    names,
    pod_programs,
)
from tracking_operator.isolation.by_api.scene import ROLE_BINDING, ApiScene
from tracking_operator.isolation.in_pod import buckets, databases, like_the_server, login, network
from tracking_operator.isolation.in_pod.scene import Scene, Side
from tracking_operator.isolation.pods import Attacker, PodError, Template, labels_of_a_server, template_of
from tracking_operator.isolation.table import ordered
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import NO_ANSWER, ApiError
from tracking_operator.kube.objects import INGRESS, POD, KubeObject
from tracking_operator.resources.labels import pod_selector, selector_text

MARK: Final = "isolation-check"
PROBE: Final = "isolation-probe"
SECONDS_TO_READY: Final = 400.0
PORTS: Final = {"http": 80, "https": 443}
IN_POD: Final[tuple[Book[Scene], ...]] = (databases.BOOK, buckets.BOOK, login.BOOK, network.BOOK)
BY_API: Final[tuple[Book[ApiScene], ...]] = (
    localhost.BOOK,
    kubernetes_objects.BOOK,
    pod_programs.BOOK,
    addresses.BOOK,
    names.BOOK,
    backups.BOOK,
    clients.BOOK,
    denial_of_service.BOOK,
    deletion.BOOK,
)

Show = Callable[[str], None]


class MatrixError(Exception):
    """The attempts cannot be made; the text says why and what to do."""


@dataclass(frozen=True)
class Options:
    """What is attacked, and by whom.

    Attributes:
        class_name: the class of all servers.
        namespace: the attacker's.
        against: the namespace that is attacked.
        third: a namespace of the class whose server is harmed and deleted, and which is deleted itself; empty: only
            attempts are made that harm nothing.
        operator_namespace: the operator's own.
        ingress: `host:port` at which the routes to the servers begin; empty: as the Ingress's status says.
    """

    class_name: str
    namespace: str
    against: str
    third: str = ""
    operator_namespace: str = "tracking-operator-system"
    ingress: str = ""


@dataclass(frozen=True)
class Matrix:
    """What was seen.

    Attributes:
        rows: all attempts that were made, by area.
        names: what differs from run to run, and what a table says instead.
    """

    rows: Sequence[Row]
    names: Mapping[str, str]

    @property
    def is_as_expected(self) -> bool:
        """Whether nothing was seen that ought not to be."""
        return all(row.is_as_expected for row in self.rows)


def all_attempts(*, harmful: bool) -> list[Attempt]:
    """Every attempt that there is, by area; the harmful ones only if asked for."""
    books: Iterable[Book[Scene] | Book[ApiScene]] = (*IN_POD, like_the_server.BOOK, *BY_API)
    found = [attempt for book in books for attempt in book.attempts if harmful or attempt.harmless]
    return sorted(found, key=lambda attempt: list(Area).index(attempt.area))


async def run_matrix(platform: KubeClient, options: Options, show: Show) -> Matrix:
    """Make the attempts. What was made for them is removed, whatever happens.

    Raises:
        MatrixError: there is no such class or namespace, or no server gets ready.
        ApiError: whoever runs this may not do what it takes.
    """
    async with AsyncExitStack() as stack:
        chosen = await _class(platform, options.class_name)
        servers = {
            namespace: await stack.enter_async_context(_a_server(platform, namespace, options, show))
            for namespace in (options.namespace, options.against, options.third)
            if namespace
        }
        tenants = {
            namespace: await stack.enter_async_context(a_tenant(platform, namespace)) for namespace in servers
        }
        template = await template_of(platform, options.namespace, servers[options.namespace].metadata.name)
        scene = await _scene(platform, options, chosen, servers)
        own = Attacker(tenants[options.namespace], scene, template)
        victim = Attacker(
            tenants[options.against],
            replace(scene, own=scene.other, other=scene.own),
            await template_of(platform, options.against, servers[options.against].metadata.name),
        )
        show(f"{options.against} has a session and an object that {options.namespace} shall not get")
        stack.push_async_callback(victim.stop, await victim.started("victim"))
        api_scene = await _api_scene(platform, options, servers, tenants, own)
        show(f"{options.namespace} tries from its pods, and at the Kubernetes API")
        wanted = all_attempts(harmful=bool(options.third))
        in_pods, by_api = await asyncio.gather(_from_pods(own, wanted), _at_the_api(api_scene, wanted, show))
    rows = [_judged(row, scene) for row in (*in_pods, *by_api)]
    return Matrix(ordered(rows), _names(options))


async def _from_pods(own: Attacker, wanted: Sequence[Attempt]) -> list[Row]:
    """Make the attempts of an ordinary pod of the team's, then those of one that looks like its server's."""
    ids = {attempt.id for attempt in wanted}
    rows = []
    for mode, books, labels in (
        ("attack", IN_POD, {}),
        ("server", (like_the_server.BOOK,), labels_of_a_server(own.scene.own.server)),
    ):
        attempts = [attempt for book in books for attempt in book.attempts if attempt.id in ids]
        try:
            seen = await own.run(mode, *(attempt.id for attempt in attempts), labels=labels)
        except (PodError, ApiError) as error:
            seen = {attempt.id: Seen.of(Verdict.NOT_TRIED, error) for attempt in attempts}
        missing = Seen(Verdict.NOT_TRIED, "the pod said nothing of it")
        rows += [Row(attempt, seen.get(attempt.id, missing)) for attempt in attempts]
    return rows


async def _at_the_api(scene: ApiScene, wanted: Sequence[Attempt], show: Show) -> list[Row]:
    """Make the attempts at the API one after the other, the deletion last."""
    ids = {attempt.id for attempt in wanted}
    rows = []
    for book in BY_API:
        begun = time.monotonic()
        for attempt, act in book.acts.values():
            if attempt.id in ids:
                rows.append(Row(attempt, await seen_of(act, scene)))
        show(f"{book.area}: {time.monotonic() - begun:.0f} s")
    return rows


async def seen_of(act: Callable[[ApiScene], object], scene: ApiScene) -> Seen:
    """Make one attempt at the API, and say what came of it."""
    try:
        found = act(scene)
        return Seen.of(Verdict.DONE, await found if inspect.isawaitable(found) else found)
    except (CannotTryError, PodError) as error:
        return Seen.of(Verdict.NOT_TRIED, error)
    except NotApplicable as error:
        return Seen.of(Verdict.NOT_APPLICABLE, error)
    except Refused as error:
        return Seen.of(Verdict.REFUSED, error)
    except ApiError as error:
        return Seen.of(Verdict.NOT_TRIED if error.status == NO_ANSWER else Verdict.REFUSED, error)


def _judged(row: Row, scene: Scene) -> Row:
    """The row; one that could not be tried because the class has nothing of the kind is marked so."""
    if row.seen.verdict is not Verdict.NOT_TRIED:
        return row
    missing = {
        Area.DATABASES: "" if scene.own.database and scene.other.database else "no database of its own",
        Area.BUCKETS: "" if scene.own.prefix and scene.other.prefix else "no prefix of its own",
        Area.LOGIN: "" if scene.has_login and scene.ingress else "no login, or no route from outside",
        Area.ADDRESSES: "" if scene.other.host else "no route from outside",
    }.get(row.attempt.area)
    if not missing:
        return row
    return Row(row.attempt, Seen(Verdict.NOT_APPLICABLE, f"a server of this class has {missing}"))


# Who and what there is


async def _class(platform: KubeClient, name: str) -> TrackingServerClass:
    found = await platform.get(TRACKING_SERVER_CLASS, None, name)
    if found is None:
        raise MatrixError(
            f"There is no TrackingServerClass {name}: `kubectl get trackingserverclasses` lists those that there are."
        )
    return TrackingServerClass.model_validate(found)


@asynccontextmanager
async def _a_server(
    platform: KubeClient, namespace: str, options: Options, show: Show
) -> AsyncIterator[TrackingServer]:
    """A server of the class in a namespace: one that is there, or one that is made and removed again."""
    live = [TrackingServer.model_validate(one) for one in await platform.list(TRACKING_SERVER, namespace)]
    usable = [one for one in live if one.status.class_name == options.class_name]
    if usable:
        yield usable[0]
        return
    show(
        f"{namespace} has no server of class {options.class_name}: {PROBE} is made for the time of the check"
    )
    await platform.create(
        {
            "apiVersion": API_VERSION,
            "kind": "TrackingServer",
            "metadata": {"name": PROBE, "namespace": namespace},
            "spec": {"className": options.class_name},
        }
    )
    try:
        yield await _ready(platform, namespace, PROBE)
    finally:
        await platform.delete(TRACKING_SERVER, namespace, PROBE)


async def _ready(platform: KubeClient, namespace: str, name: str) -> TrackingServer:
    deadline = time.monotonic() + SECONDS_TO_READY
    while True:
        server = TrackingServer.model_validate(await platform.get(TRACKING_SERVER, namespace, name) or {})
        ready = server.status.condition(ConditionType.READY)
        if ready is not None and ready.is_true:
            return server
        if time.monotonic() > deadline:
            said = f"{ready.reason}: {ready.message}" if ready else "nobody has looked at it"
            raise MatrixError(f"TrackingServer {namespace}/{name} is not Ready. {said}")
        await asyncio.sleep(0.5)


@asynccontextmanager
async def a_tenant(platform: KubeClient, namespace: str) -> AsyncIterator[KubeClient]:
    """A client with the rights of an administrator of a namespace, by impersonation of a user who is bound to `admin`."""
    user = f"{MARK}:{namespace}"
    binding: KubeObject = {
        "apiVersion": ROLE_BINDING.api_version,
        "kind": "RoleBinding",
        "metadata": {"name": MARK, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    await platform.delete(ROLE_BINDING, namespace, MARK)
    await platform.create(binding)
    try:
        async with KubeClient(platform.configuration, impersonated=user, field_manager=MARK) as tenant:
            yield tenant
    finally:
        await platform.delete(ROLE_BINDING, namespace, MARK)


async def _scene(
    platform: KubeClient,
    options: Options,
    chosen: TrackingServerClass,
    servers: Mapping[str, TrackingServer],
) -> Scene:
    own, other = (servers[name] for name in (options.namespace, options.against))
    pods = await platform.list(POD, options.operator_namespace, "app.kubernetes.io/name=tracking-operator")
    authentication = chosen.spec.access.authentication
    return Scene(
        own=await _side(platform, own),
        other=await _side(platform, other),
        maintenance=chosen.spec.postgres.maintenance_database if chosen.spec.postgres else "",
        ingress=options.ingress or await _ingress(platform, other),
        scheme=urlsplit(other.status.url or "").scheme or "http",
        operator_pods=tuple(pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")),
        has_login=authentication is not None and authentication.basic is not None,
        mark=MARK,
    )


async def _side(platform: KubeClient, server: TrackingServer) -> Side:
    """A server's names, as its status has them."""
    namespace, name = server.metadata.namespace, server.metadata.name
    database, store, url = (
        server.status.database,
        server.status.artifact_store,
        urlsplit(server.status.url or ""),
    )
    service = urlsplit((server.status.address.url if server.status.address else "") or "")
    pods = await platform.list(POD, namespace, selector_text(pod_selector(name)))
    has_route = url.netloc and url.netloc != service.netloc
    return Side(
        namespace=namespace,
        server=name,
        database=database.name if database else "",
        role=database.role if database else "",
        login=(database.login_role or "") if database else "",
        bucket=(store.bucket or "") if store else "",
        prefix=(store.prefix or "") if store else "",
        service=service.hostname or "",
        pod=next((pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")), ""),
        host=url.netloc if has_route else "",
        path=url.path or "/",
    )


async def _ingress(platform: KubeClient, server: TrackingServer) -> str:
    """Where the route to a server begins, for pods; empty if there is none."""
    found = await platform.get(INGRESS, server.metadata.namespace, server.metadata.name)
    given = ((found or {}).get("status", {}).get("loadBalancer", {}).get("ingress") or [{}])[0]
    address, url = given.get("ip") or given.get("hostname"), urlsplit(server.status.url or "")
    return f"{address}:{url.port or PORTS.get(url.scheme, 80)}" if address else ""


async def _api_scene(
    platform: KubeClient,
    options: Options,
    servers: Mapping[str, TrackingServer],
    tenants: Mapping[str, KubeClient],
    own: Attacker,
) -> ApiScene:
    common = {"platform": platform, "class_name": options.class_name}
    third: ApiScene | None = None
    if options.third:
        side = await _side(platform, servers[options.third])
        pods = Attacker(
            tenants[options.third], replace(own.scene, own=side), _template_for(own.template, own, side)
        )
        third = ApiScene(
            tenant=tenants[options.third],
            own=side,
            other=own.scene.other,
            operator_namespace=options.operator_namespace,
            pods=pods,
            **common,  # type: ignore[arg-type]
        )
    scene = ApiScene(
        tenant=tenants[options.namespace],
        own=own.scene.own,
        other=own.scene.other,
        operator_namespace=options.operator_namespace,
        pods=own,
        third=third,
        **common,  # type: ignore[arg-type]
    )
    return replace(scene, before=await scene.operator_restarts())


def _template_for(template: Template, own: Attacker, side: Side) -> Template:
    """The same pod for another team's server: Secrets are called like the server."""
    if side.server != own.scene.own.server:
        raise MatrixError(
            f"The server in {side.namespace} has to be called {own.scene.own.server}, like the attacker's."
        )
    return template


def _names(options: Options) -> dict[str, str]:
    """Names that differ from run to run, and what stands for them in the documentation."""
    found: dict[str, str] = {}
    for namespace, stand_in in (
        (options.namespace, "team-a"),
        (options.against, "team-b"),
        (options.third, "team-c"),
    ):
        if namespace:
            found |= {namespace: stand_in, namespace.replace("-", "_"): stand_in.replace("-", "_")}
    return found | {options.class_name: "standard"}
