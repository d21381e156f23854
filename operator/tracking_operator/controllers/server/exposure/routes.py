"""Whether requests from outside are led to a server: what its Ingress or HTTPRoute, and their controllers, say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.server_access import GatewayReference
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.server_class.way_in import EARLIER_CLASS_ANNOTATION, has_address
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import (
    GATEWAY,
    HTTP_ROUTE,
    INGRESS,
    INGRESS_CLASS,
    SECRET,
    Kind,
    KubeObject,
    kind_of,
    name_of,
    uid_of,
)
from tracking_operator.resources.server_address import Routing
from tracking_operator.resources.server_model import ServerModel

CERT_MANAGER: Final = ("cert-manager.io/", "kubernetes.io/tls-acme")
"""What annotations begin with that have cert-manager make the Ingress's certificate
(https://cert-manager.io/docs/usage/ingress/#supported-annotations)."""


@dataclass
class RouteMemory:
    """What is remembered of the way to one server."""

    well: object = None
    """What leads there, as it was when nothing was missing."""

    def invalidate(self) -> None:
        """Have it looked at again."""
        self.well = None


class Routes:
    """Looks at the way in. What is well is not asked for again, unless something changes or a resync wants it."""

    def __init__(self, kube: KubeClient, gateway_api: GatewayApi) -> None:
        self._kube = kube
        self._gateway_api = gateway_api

    async def look(
        self, server: ServerModel, children: Sequence[KubeObject], memory: RouteMemory
    ) -> ConditionResult | None:
        """What is missing on the way to the server; None: nothing, or the class does not lead there.

        Raises ApiError: the API server does not answer.
        """
        routing = server.access.routing
        if gateway := routing.gateway:
            is_served = self._gateway_api.ask_for()
            said = route_result(routing, _own(children, HTTP_ROUTE, server), is_served=is_served)
            if said and said.reason is Reason.ADDRESS_PENDING and not await self._is_there(gateway, server):
                return _no_gateway(gateway, server)
            return said
        if routing.ingress:
            return await self._look_at_ingress(server, _own(children, INGRESS, server), memory)
        return None

    async def _is_there(self, gateway: GatewayReference, server: ServerModel) -> bool:
        """Whether the Gateway is there, as far as the operator may look."""
        try:
            return await self._exists(GATEWAY, gateway.namespace or server.namespace, gateway.name)
        except ApiError as error:
            if error.status == HTTPStatus.FORBIDDEN:
                return True
            raise

    async def _look_at_ingress(
        self, server: ServerModel, ingress: KubeObject | None, memory: RouteMemory
    ) -> ConditionResult | None:
        if ingress is None:
            return _result(Verdict.WORKING, Reason.PENDING, "Waits for the Ingress to be written.")
        secret = server.access.routing.tls_secret
        state = (uid_of(ingress), ingress["metadata"].get("generation"), secret, has_address(ingress))
        if memory.well == state:
            return None
        condition_result = None
        if not has_address(ingress):
            class_name = ingress["spec"].get("ingressClassName")
            is_known = not class_name or await self._exists(INGRESS_CLASS, None, class_name)
            condition_result = no_address_result(ingress, class_name, is_known=is_known)
        elif secret and not await self._exists(SECRET, server.namespace, secret):
            condition_result = no_certificate_result(server, secret)
        memory.well = state if condition_result is None else None
        return condition_result

    async def _exists(self, kind: Kind, namespace: str | None, name: str) -> bool:
        return await self._kube.get(kind, namespace, name) is not None


def no_address_result(ingress: KubeObject, class_name: str | None, *, is_known: bool) -> ConditionResult:
    """Why an Ingress has no address."""
    name = name_of(ingress)
    if not is_known:
        return _result(
            Verdict.FAILING,
            Reason.INGRESS_CLASS_NOT_FOUND,
            f"There is no IngressClass {class_name!r} to take Ingress {name} up: ask the platform team to install its "
            "controller, or to correct access.ingress.className of the class.",
        )
    if not class_name and EARLIER_CLASS_ANNOTATION not in (ingress["metadata"].get("annotations") or {}):
        return _result(
            Verdict.FAILING,
            Reason.INGRESS_CLASS_NOT_FOUND,
            f"Ingress {name} has no address. It is of no IngressClass, because the server's class names none and the "
            "cluster had no default one when it was made: ask the platform team to set access.ingress.className.",
        )
    return _result(
        Verdict.WORKING,
        Reason.ADDRESS_PENDING,
        f"Ingress {name} has no address yet; if it stays so, 'kubectl describe ingress {name}' and the log of the controller "
        f"of {f'IngressClass {class_name}' if class_name else 'its class'} tell why.",
    )


def no_certificate_result(server: ServerModel, secret: str) -> ConditionResult:
    """The Secret of the Ingress is missing, so that its controller answers with a certificate that no browser trusts."""
    ingress = server.access.routing.ingress
    if ingress and is_made_by_cert_manager(ingress.annotations):
        return _result(
            Verdict.WORKING,
            Reason.TLS_SECRET_NOT_FOUND,
            f"Waits for cert-manager to make Secret {secret!r} with the certificate; if it stays so, 'kubectl describe "
            f"certificate {secret}' tells why.",
        )
    return _result(
        Verdict.FAILING,
        Reason.TLS_SECRET_NOT_FOUND,
        f"Secret {secret!r} with the Ingress's certificate, which access.ingress.tls.secretName of the class names, does not "
        f"exist in namespace {server.namespace!r}: create it there, or ask the platform team.",
    )


def is_made_by_cert_manager(annotations: Mapping[str, str]) -> bool:
    """Whether annotations of an Ingress ask cert-manager for its certificate."""
    return any(key.startswith(CERT_MANAGER) for key in annotations)


def route_result(routing: Routing, route: KubeObject | None, *, is_served: bool) -> ConditionResult | None:
    """What a Gateway says about the server's route; None: it leads requests there."""
    gateway = routing.gateway.name if routing.gateway else ""
    if not is_served:
        return _result(
            Verdict.FAILING,
            Reason.GATEWAY_API_MISSING,
            f"The class leads requests through Gateway {gateway}, but the cluster does not know HTTPRoutes: ask the platform "
            "team to install the Gateway API (version v1).",
        )
    if route is None:
        return _result(Verdict.WORKING, Reason.PENDING, "Waits for the HTTPRoute to be written.")
    said = [condition for parent in _parents(route, gateway) for condition in parent.get("conditions") or ()]
    for condition in said:
        if condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] == "False":
            return _refused(gateway, condition)
    if any(condition["type"] == "Accepted" and condition["status"] == "True" for condition in said):
        return None
    name = name_of(route)
    return _result(
        Verdict.WORKING,
        Reason.ADDRESS_PENDING,
        f"Gateway {gateway} has not taken HTTPRoute {name} up yet; if it stays so, 'kubectl describe httproute {name}' and the log "
        "of the Gateway's controller tell why.",
    )


def _refused(gateway: str, condition: KubeObject) -> ConditionResult:
    said = " ".join(str(condition.get("message") or "").split()).rstrip(".")
    return _result(
        Verdict.FAILING,
        Reason.ROUTE_NOT_ACCEPTED,
        f"Gateway {gateway} does not take the server's HTTPRoute: {condition.get('reason')}{f' ({said})' if said else ''}. Ask "
        "the platform team to correct access.gateway.parentRef of the class, or the Gateway's listeners.",
    )


def _no_gateway(gateway: GatewayReference, server: ServerModel) -> ConditionResult:
    where = f"{gateway.namespace or server.namespace}/{gateway.name}"
    return _result(
        Verdict.FAILING,
        Reason.GATEWAY_NOT_FOUND,
        f"The class leads requests through Gateway {where}, which does not exist: ask the platform team to create it, or to "
        "correct access.gateway.parentRef of the class.",
    )


def _parents(route: KubeObject, gateway: str) -> list[KubeObject]:
    """What each controller says about the route at this Gateway."""
    parents = (route.get("status") or {}).get("parents") or ()
    return [parent for parent in parents if (parent.get("parentRef") or {}).get("name") == gateway]


def _own(children: Sequence[KubeObject], kind: Kind, server: ServerModel) -> KubeObject | None:
    name = server.names.workload
    return next((child for child in children if kind_of(child) == kind and name_of(child) == name), None)


def _result(verdict: Verdict, reason: Reason, message: str) -> ConditionResult:
    return ConditionResult(ConditionType.EXPOSED, verdict, reason, message)
