"""From what a class offers and a team asks for to a server's address. Pure; raises Invalid where that cannot be."""

from tracking_operator import naming
from tracking_operator.api.placement import AddressPlacement, Placement
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.server_class.class_of_server import ChosenClass, unusable_template
from tracking_operator.resources.server_address import Address, Routing, ServerAccess


def access_of(
    server: TrackingServer, placement: Placement, chosen: ChosenClass, values: naming.TemplateValues
) -> ServerAccess:
    """Everything about the server's address. Raises Invalid: a template of the class cannot be used."""
    routing = routing_of(chosen, values)
    asked, next_address = server.spec.access, placement.next_address
    return ServerAccess(
        address=address_of(placement.address_in_use, routing, chosen, values),
        next_address=address_of(next_address, routing, chosen, values) if next_address else None,
        former_host=placement.former_host or "",
        routing=routing,
        extra_hosts=asked.allowed_hosts,
        extra_origins=asked.allowed_origins,
    )


def access_as_recorded(server: TrackingServer, recorded: Placement) -> ServerAccess:
    """Where clients find a server whose specification is refused: as it was before."""
    decided, url = recorded.address_in_use, server.status.url or ""
    prefix, is_inside = naming.url_prefix(decided.path), _is_inside(server)
    origin = "" if is_inside or not url.endswith(prefix) else url.removesuffix(prefix)
    return ServerAccess(address=Address(decided.host, decided.path, origin))


def routing_of(chosen: ChosenClass, values: naming.TemplateValues) -> Routing:
    """How the class leads requests to the server. Raises Invalid: the name of a Secret cannot be used."""
    class_access = chosen.spec.access
    tls = class_access.ingress.tls if class_access.ingress else None
    try:
        secret = naming.secret_name(tls.secret_name, values) if tls and tls.secret_name else None
    except naming.BadName as error:
        raise unusable_template(chosen, "access.ingress.tls.secretName", error) from error
    return Routing(
        class_access.ingress, class_access.gateway.parent_ref if class_access.gateway else None, secret
    )


def address_of(
    decided: AddressPlacement, routing: Routing, chosen: ChosenClass, values: naming.TemplateValues
) -> Address:
    """An address with the URL that people write. Raises Invalid: the class's publicURL cannot be used."""
    origin = named_origin(chosen, values, decided.host, routing.scheme)
    return Address(decided.host, decided.path, origin)


def named_origin(chosen: ChosenClass, values: naming.TemplateValues, host: str, scheme: str) -> str:
    """Scheme, host and port that people write; empty without any host. Raises Invalid."""
    template = chosen.spec.access.public_url
    if template is None:
        return f"{scheme}://{host}" if host else ""
    try:
        return naming.public_origin(template, values, host)
    except naming.BadName as error:
        raise unusable_template(chosen, "access.publicURL", error) from error


def require_usable_templates(chosen: ChosenClass, values: naming.TemplateValues, host: str) -> None:
    """Try the class's own words on a server of this host. Raises Invalid."""
    routing = routing_of(chosen, values)
    named_origin(chosen, values, host, routing.scheme)


def texts_of_access(chosen: ChosenClass) -> tuple[str | None, ...]:
    """The class's templates for access."""
    class_access = chosen.spec.access
    tls = class_access.ingress.tls if class_access.ingress else None
    return class_access.public_url, tls.secret_name if tls else None


def _is_inside(server: TrackingServer) -> bool:
    """Whether the URL in the status is the one of the Service."""
    address = server.status.address
    return address is None or server.status.url == address.url
