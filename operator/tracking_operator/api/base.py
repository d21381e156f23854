"""What all API models share: how they read Kubernetes objects, and how they say their CRD rules."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict


class ApiModel(BaseModel):
    """A part of a Kubernetes object: immutable, camelCase outside, snake_case inside.

    Fields that a model does not know are ignored, so that objects written for a newer version of the
    operator can still be read. The docstring below each field is what ``kubectl explain`` prints.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
        # An error ends in a log, and what was refused may be a secret that somebody wrote into the wrong field.
        hide_input_in_errors=True,
    )

    def as_kubernetes(self) -> dict[str, Any]:
        """Return the plain object as Kubernetes knows it: only what was set, nothing defaulted."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)

    def updated(self, **changes: object) -> Self:
        """Return a copy with these attributes (snake_case) replaced; the values are not validated."""
        return self.model_copy(update=changes)


@dataclass(frozen=True)
class Rule:
    """One CEL rule of a CRD, with the sentence that a person gets when it does not hold.

    ``field_path`` (``.image``, relative to where the rule stands) moves the error to the field that has
    to change; ``message_expression`` is CEL for a sentence with values in it, and ``message`` then what
    stands in the reference. See https://kubernetes.io/docs/reference/using-api/cel/.
    """

    expression: str
    message: str
    field_path: str | None = None
    message_expression: str | None = None

    def as_kubernetes(self) -> JsonDict:
        """Return the rule as an entry of ``x-kubernetes-validations``."""
        entry: JsonDict = {"rule": " ".join(self.expression.split()), "message": self.message}
        if self.field_path is not None:
            entry["fieldPath"] = self.field_path
        if self.message_expression is not None:
            entry["messageExpression"] = self.message_expression
        return entry


def rules(*given: Rule) -> JsonDict:
    """Return the schema extension that carries these rules."""
    return {"x-kubernetes-validations": [rule.as_kubernetes() for rule in given]}


def with_rules(*given: Rule) -> ConfigDict:
    """Return the ``model_config`` of a model that carries these rules."""
    return ConfigDict(json_schema_extra=rules(*given))


def map_by(*keys: str) -> JsonDict:
    """Return the schema extension of a list that several owners share, entry by entry."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


SET: Final[JsonDict] = {"x-kubernetes-list-type": "set"}
ATOMIC: Final[JsonDict] = {"x-kubernetes-list-type": "atomic"}

_NAME_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

ObjectName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        json_schema_extra=rules(
            Rule(
                rf"self.matches('^{_NAME_LABEL}([.]{_NAME_LABEL})*$')",
                "must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.', "
                "beginning and ending with a letter or digit",
            )
        ),
    ),
]
"""The name of another Kubernetes object."""

Text = Annotated[str, Field(max_length=1024)]
"""A text without a form of its own. Nothing in our resources is without a bound, because all of it is kept in memory."""

LONGEST_QUANTITY: Final = 32
_SHORT_EXPONENT: Final = "^[^eE]*([eE][^0-9]*[0-9]{0,2}[^0-9]*)?$"
"""At most two digits after an e. A longer exponent means one number to Kubernetes, which keeps 32 bits of it, and another to
everybody else. It is a pattern, because a rule that matches a text of unknown length costs the API server too much."""

_QUANTITY_SCHEMA: Final[JsonDict] = {
    "x-kubernetes-int-or-string": True,
    "maxLength": LONGEST_QUANTITY,
    "pattern": _SHORT_EXPONENT,
}

Quantity = Annotated[
    str,
    BeforeValidator(str),
    WithJsonSchema(
        {
            **_QUANTITY_SCHEMA,
            **rules(
                Rule(
                    "isQuantity(string(self)) && !string(self).startsWith('-')",
                    "must be a Kubernetes quantity that is not negative, such as 500m, 2, 640Mi or 10Gi",
                )
            ),
        }
    ),
]
"""An amount of a resource in Kubernetes' notation (``250m``, ``640Mi``), always a string in Python."""

UncheckedQuantity = Annotated[
    str,
    BeforeValidator(str),
    WithJsonSchema(_QUANTITY_SCHEMA),
]
"""A quantity in a place where a rule would be evaluated too often; all but its exponent Kubernetes checks in the pod."""

StorageSize = Annotated[
    str,
    BeforeValidator(str),
    WithJsonSchema(
        {
            **_QUANTITY_SCHEMA,
            **rules(
                Rule(
                    "isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))",
                    "must be a Kubernetes quantity of bytes above zero, such as 500Mi or 10Gi",
                )
            ),
        }
    ),
]
"""The size of a volume in bytes, in Kubernetes' notation."""

_HOST_PART: Final = "[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
_REGISTRY: Final = f"({_HOST_PART}([.]{_HOST_PART})*|[[][0-9a-fA-F:.]+[]])(:[0-9]+)?/"
_IMAGE_PART: Final = "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*"
_TAG: Final = ":[a-zA-Z0-9_][-a-zA-Z0-9_.]{0,127}"
_DIGEST: Final = "@[a-zA-Z][a-zA-Z0-9]*([-_+.][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,}"
IMAGE_PATTERN: Final = f"^({_REGISTRY})?{_IMAGE_PART}(/{_IMAGE_PART})*({_TAG})?({_DIGEST})?$"
"""What a kubelet can read as an image (github.com/distribution/reference, regexp.go)."""

ImageReference = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{IMAGE_PATTERN}')",
                "must be an image as a container runtime reads it, with no scheme such as https:// and no spaces: "
                "registry.example.com/mlflow:3.17.2, or with a digest, mlflow@sha256:…",
            )
        ),
    ),
]
"""Where a container image is found."""

KeyName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        json_schema_extra=rules(
            Rule("self.matches('^[-._a-zA-Z0-9]+$')", "must be a key of letters, digits, '-', '_' and '.'")
        ),
    ),
]
"""A key of a Secret or ConfigMap."""

KeyPattern = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        json_schema_extra=rules(
            Rule(
                "self.matches('^[^*]*[*]?$')",
                "must be a key, or the beginning of keys and one '*' at its end, for example prometheus.io/*",
            )
        ),
    ),
]
"""A key as it is, or with a star at its end every key that begins like it; ``*`` alone is every key."""

KeyPatterns = Annotated[tuple[KeyPattern, ...], Field(max_length=64, json_schema_extra=SET)]


def matches_key(pattern: str, key: str) -> bool:
    """Whether a ``KeyPattern`` means this key."""
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern


Duration = Annotated[
    str,
    Field(
        max_length=16,
        json_schema_extra=rules(
            Rule(
                "self.matches('^[1-9][0-9]*(h|d)$')", "must be a number of hours or days, such as 12h or 90d"
            )
        ),
    ),
]
"""A time span in whole hours or days, such as ``90d``."""


def seconds_in(duration: str) -> float:
    """Return a ``Duration`` in seconds."""
    return int(duration[:-1]) * {"h": 3600.0, "d": 86400.0}[duration[-1]]


MlflowVersion = Annotated[
    str,
    Field(
        max_length=32,
        json_schema_extra=rules(
            Rule(
                "self.matches('^[0-9]+[.][0-9]+[.][0-9]+$')",
                'must be an exact MLflow release of three numbers in quotes, such as "3.17.2"',
            )
        ),
    ),
]
"""An exact MLflow release, ``major.minor.patch``."""
