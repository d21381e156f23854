"""The CA and the client certificate that a team names for a store of its own: what is mounted, and what is looked at. Pure."""

from collections.abc import Mapping
from typing import Final

from tracking_operator.resources.stores.interface import StartSecret

CA_KEY: Final = "ca.crt"
CERTIFICATE_KEY: Final = "tls.crt"
PRIVATE_KEY: Final = "tls.key"
"""The names that Kubernetes gives them in Secrets of type kubernetes.io/tls."""

READABLE_BY_GROUP: Final = 0o440
"""What libpq takes of a key that belongs to root (https://www.postgresql.org/docs/current/libpq-ssl.html): pods read it by their group."""


def ca_reference(config_map: str, field: str) -> StartSecret:
    """The ConfigMap with a CA."""
    return StartSecret(
        config_map,
        CA_KEY,
        field,
        required=(CA_KEY,),
        is_config_map=True,
        certificates=(CA_KEY,),
    )


def certificate_reference(secret: str, field: str) -> StartSecret:
    """The Secret with a client certificate and its key."""
    return StartSecret(
        secret, field=field, required=(CERTIFICATE_KEY, PRIVATE_KEY), certificates=(CERTIFICATE_KEY,)
    )


def ca_source(config_map: str) -> Mapping[str, object]:
    """The CA as a part of a projected volume."""
    return {"configMap": {"name": config_map, "items": [{"key": CA_KEY, "path": CA_KEY}]}}


def certificate_source(secret: str) -> Mapping[str, object]:
    """The client certificate as a part of a projected volume."""
    items = [
        {"key": CERTIFICATE_KEY, "path": CERTIFICATE_KEY},
        {"key": PRIVATE_KEY, "path": PRIVATE_KEY, "mode": READABLE_BY_GROUP},
    ]
    return {"secret": {"name": secret, "items": items}}
