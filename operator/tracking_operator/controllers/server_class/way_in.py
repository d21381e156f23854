"""Whether what a class leads requests through is there: the IngressClass, or the Gateway with its listener.

No watch tells of either. What is there is not asked for again before the class changes or is resynced.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.server_access import GatewayReference, GatewaySpec, IngressSpec
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.controllers.conditions.condition_result import ConditionResult, problem
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import GATEWAY, INGRESS, INGRESS_CLASS, KubeObject

DEFAULT_INGRESS_CLASS: Final = "ingressclass.kubernetes.io/is-default-class"
EARLIER_CLASS_ANNOTATION: Final = "kubernetes.io/ingress.class"
"""What controllers were named by before there were IngressClasses; some still are."""


class WayIn:
    """Looks for what classes lead requests through, and remembers what was there."""

    def __init__(self, kube: KubeClient, cache: ObjectCache, gateway_api: GatewayApi) -> None:
        self._kube = kube
        self._cache = cache
        self._gateway_api = gateway_api
        self._found: dict[str, IngressSpec | GatewaySpec] = {}
        """By class: what it leads through, as long as that was there."""

    async def result(self, resource: TrackingServerClass, *, fresh: bool) -> ConditionResult | None:
        """What keeps the class from leading to its servers; None: nothing. Raises ApiError: there is no answer."""
        access, name = resource.spec.access, resource.metadata.name
        if access.gateway and not self._gateway_api.ask_for():
            self.evict(name)
            return _no_gateway_api(name)
        wanted = access.gateway or access.ingress
        if wanted is None or (not fresh and self._found.get(name) == wanted):
            return None
        self.evict(name)
        try:
            missing = await self._missing(name, wanted)
        except ApiError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            return None  # where the operator may not look, the class is believed
        if missing is None:
            self._found[name] = wanted
        return missing

    def evict(self, name: str) -> None:
        """Forget what was found of a class."""
        self._found.pop(name, None)

    async def _missing(self, name: str, wanted: IngressSpec | GatewaySpec) -> ConditionResult | None:
        if isinstance(wanted, GatewaySpec):
            return await self._without_gateway(name, wanted.parent_ref)
        if wanted.class_name:
            found = await self._kube.get(INGRESS_CLASS, None, wanted.class_name)
            return None if found else _no_ingress_class(name, wanted.class_name)
        if EARLIER_CLASS_ANNOTATION in wanted.annotations or self._some_controller_asks_for_no_class():
            return None
        classes = await self._kube.list(INGRESS_CLASS)
        return None if any(map(_is_default, classes)) else _no_default_ingress_class(name)

    def _some_controller_asks_for_no_class(self) -> bool:
        return any(
            not one["spec"].get("ingressClassName") and has_address(one) for one in self._cache.list(INGRESS)
        )

    async def _without_gateway(self, name: str, wanted: GatewayReference) -> ConditionResult | None:
        if wanted.namespace is None:
            return None  # each server's own: its route tells
        gateway = await self._kube.get(GATEWAY, wanted.namespace, wanted.name)
        if gateway is None:
            return _no_gateway(name, wanted)
        listeners: Sequence[KubeObject] = gateway["spec"].get("listeners") or ()
        fits = any(
            wanted.section_name in (None, one.get("name")) and wanted.port in (None, one.get("port"))
            for one in listeners
        )
        return None if fits else _no_listener(name, wanted, listeners)


def has_address(ingress: KubeObject) -> bool:
    """Whether a controller has taken the Ingress up, and says where it listens."""
    entries = ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return any(entry.get("ip") or entry.get("hostname") for entry in entries)


def _is_default(ingress_class: KubeObject) -> bool:
    annotations = ingress_class["metadata"].get("annotations") or {}
    return bool(annotations.get(DEFAULT_INGRESS_CLASS) == "true")


def _no_ingress_class(name: str, wanted: str) -> ConditionResult:
    return problem(
        ConditionType.SPEC_VALID,
        Reason.INGRESS_CLASS_NOT_FOUND,
        f"Class {name!r} has access.ingress.className {wanted!r}, but the cluster has no such IngressClass: "
        "install its controller, or correct the name. The operator looks again by itself.",
    )


def _no_default_ingress_class(name: str) -> ConditionResult:
    return problem(
        ConditionType.SPEC_VALID,
        Reason.INGRESS_CLASS_NOT_FOUND,
        f"Class {name!r} has access.ingress without className, and the cluster has no default IngressClass, so that no "
        "controller need take its servers' Ingresses up: set access.ingress.className to one that 'kubectl get ingressclasses' "
        f"lists, or annotate one with {DEFAULT_INGRESS_CLASS}=true. The operator looks again by itself.",
    )


def _no_gateway_api(name: str) -> ConditionResult:
    return problem(
        ConditionType.SPEC_VALID,
        Reason.GATEWAY_API_MISSING,
        f"Class {name!r} has access.gateway, but the cluster does not know HTTPRoutes: install the Gateway API "
        "(version v1), or use access.ingress. The operator looks again by itself.",
    )


def _no_gateway(name: str, wanted: GatewayReference) -> ConditionResult:
    return problem(
        ConditionType.SPEC_VALID,
        Reason.GATEWAY_NOT_FOUND,
        f"Class {name!r} leads through Gateway {wanted.namespace}/{wanted.name}, which does not exist: create it, or correct "
        "access.gateway.parentRef. The operator looks again by itself.",
    )


def _no_listener(name: str, wanted: GatewayReference, listeners: Sequence[KubeObject]) -> ConditionResult:
    asked = [
        f"sectionName {wanted.section_name!r}" if wanted.section_name else "",
        f"port {wanted.port}" if wanted.port else "",
    ]
    there = ", ".join(f"{one.get('name')} (port {one.get('port')})" for one in listeners) or "none"
    return problem(
        ConditionType.SPEC_VALID,
        Reason.GATEWAY_NOT_FOUND,
        f"Class {name!r} names {' and '.join(filter(None, asked)) or 'any listener'} in access.gateway.parentRef, but Gateway "
        f"{wanted.namespace}/{wanted.name} has no such listener (it has: {there}): correct either. The operator looks again by "
        "itself.",
    )
