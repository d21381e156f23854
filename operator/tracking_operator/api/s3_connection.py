"""How an S3 server is reached: what classes say of theirs, and teams of one of their own."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from tracking_operator.api.base import Rule, rules


class AddressingStyle(StrEnum):
    """Where a request names the bucket: in the path of the URL, or as the first part of its host."""

    PATH = "path"
    VIRTUAL = "virtual"


_ENDPOINT: Final = "https?://([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?"

Endpoint = Annotated[
    str,
    Field(
        min_length=1,
        max_length=300,
        json_schema_extra=rules(
            Rule(
                f"self.matches('^{_ENDPOINT}$')",
                "must be a URL of scheme, host and port without a path, for example http://s3.s3.svc:7070",
            )
        ),
    ),
]
"""The URL of an S3 server."""


def addressing_style_with(endpoint: str | None) -> AddressingStyle:
    """Where requests name the bucket if nobody says it."""
    return AddressingStyle.PATH if endpoint else AddressingStyle.VIRTUAL
