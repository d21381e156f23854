"""What a team tries with addresses: to get another team's requests, or those of somebody who is still to come."""

from functools import partial
from http import HTTPStatus
from typing import Final

from tracking_operator.isolation.attempts import Area, Attempt, Book, By, CannotTryError, NotApplicable
from tracking_operator.isolation.by_api.scene import ApiScene
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import HTTP_ROUTE, KubeObject

BOOK: Final = Book[ApiScene](Area.ADDRESSES)
REFUSED: Final = "^(Conflict|NotPermitted|LimitExceeded|InvalidSpec|AmbiguousTemplate)|^422|^400"
TAKEN: Final = "^Conflict"
OTHERS: Final = "another team's address"


async def _ask(scene: ApiScene, host: str, path: str) -> str:
    """Ask for an address; ``{host}`` and ``{path}`` are the other team's, ``{domain}`` is the domain of its host."""
    names = _of_the_other(scene)
    access = {"host": host.format(**names)} | ({"path": path.format(**names) or "/"} if path else {})
    server = await scene.ask_for({"access": access})
    return f"the server is at {server.status.url}"


def _of_the_other(scene: ApiScene) -> dict[str, str]:
    """What addresses are made of. Raises CannotTryError: there is none."""
    if not scene.other.host:
        raise CannotTryError("the class leads to its servers from nowhere")
    host = scene.other.host.partition(":")[0]
    return {
        "host": host,
        "path": scene.other.path.rstrip("/"),
        "domain": host.partition(".")[2],
        "namespace": scene.other.namespace,
    }


ADDRESSES: Final = (
    ("same", "ask for the same host and path", OTHERS, "{host}", "{path}"),
    ("below", "ask for a path below it", OTHERS, "{host}", "{path}/below"),
    ("above", "ask for / of the host", OTHERS, "{host}", "/"),
    ("foreign-host", "ask for a host outside of the class's", "another service", "grafana.example.org", ""),
    (
        "future-namespace",
        "ask for the host that the template gives to a namespace that is still to come",
        "a team that is still to come",
        "mlflow.isolation-future.{domain}",
        "",
    ),
    ("wildcard", "ask for *. and the domain", "all hosts of a domain", "*.{domain}", ""),
    ("upper-case", "ask for the host in capitals", OTHERS, "MLFLOW.{domain}", "{path}"),
    ("dot", "ask for the host with a dot at its end", OTHERS, "{host}.", "{path}"),
    ("traversal", "ask for a path with ..", OTHERS, "{host}", "/mine/..{path}"),
    ("double-slash", "ask for a path with //", OTHERS, "{host}", "/mine//{path}"),
    ("encoded", "ask for a path with an encoded slash", OTHERS, "{host}", "/mine%2f..{path}"),
    ("snippet", "ask for a path with braces and a line break", "the Ingress controller", "{host}", "/a;}}\nlocation /b {{"),
    ("static", "ask for a path under /static, where MLflow asks nobody to log in", "its own login", "{host}", "/static-mine"),
    ("health", "ask for a path under /health", "its own login", "{host}", "/health/mine"),
    ("empty-host", "ask for no host at all", "all hosts", "", "/"),
)  # fmt: skip

for _name, _tried, _against, _host, _path in ADDRESSES:
    BOOK.add(
        Attempt(f"addresses/{_name}", Area.ADDRESSES, By.TENANT, _against, _tried, REFUSED, harmless=False),
        partial(_ask, host=_host, path=_path),
    )


# What a second class of the platform's gives, which leads through a Gateway and permits the same hosts


async def _ask_a_gateway(scene: ApiScene, host: str, path: str) -> str:
    """Ask for an address by a class whose templates keep no host for anybody: only who has one keeps it."""
    names = _of_the_other(scene)
    await _require_http_routes(scene)
    gateway = {
        "naming.host": None,
        "naming.path": None,
        "access.ingress": None,
        "access.gateway": {"parentRef": {"name": scene.mark}},
        "permissions.hosts": [names["host"], f"*.{names['domain']}"],
    }
    async with scene.class_like("gateway", gateway) as mine:
        return await _ask(mine, host, path)


async def _require_http_routes(scene: ApiScene) -> None:
    """Raise NotApplicable if the cluster does not know them."""
    try:
        await scene.platform.list(HTTP_ROUTE, scene.own.namespace)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise NotApplicable("the cluster knows no HTTPRoutes") from error
        raise


for _name, _tried, _against, _host, _path, _refusal in (
    ("own-gateway", "ask for a free host, by a class with a Gateway", "an address that is free", "free.{domain}", "", ""),
    ("gateway-same", "ask for the same host and path, by a class with a Gateway", OTHERS, "{host}", "{path}", TAKEN),
    ("gateway-below", "ask for a path below it, by a class with a Gateway", OTHERS, "{host}", "{path}/below", TAKEN),
):  # fmt: skip
    BOOK.attempt(_name, _tried, against=_against, refusal=_refusal, harmless=False)(
        partial(_ask_a_gateway, host=_host, path=_path)
    )


@BOOK.attempt(
    "own-route",
    "make an HTTPRoute of its own for the other team's host",
    against=OTHERS,
    refusal='^403 .*cannot create resource "httproutes"',
    harmless=False,
)
async def make_a_route(scene: ApiScene) -> str:
    """A Gateway gives a host to whoever asks for it, so that the platform says who may ask."""
    names = _of_the_other(scene)
    await _require_http_routes(scene)
    route: KubeObject = {
        "apiVersion": HTTP_ROUTE.api_version,
        "kind": HTTP_ROUTE.kind,
        "metadata": {"name": scene.mark, "namespace": scene.own.namespace},
        "spec": {
            "parentRefs": [{"name": scene.mark}],
            "hostnames": [names["host"]],
            "rules": [{"backendRefs": [{"name": scene.own.server, "port": 80}]}],
        },
    }
    await scene.tenant.create(route, dry_run=True)
    return "the API server admits it"
