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

Quantity = Annotated[
    str,
    BeforeValidator(str),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
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

UncheckedQuantity = Annotated[str, BeforeValidator(str), WithJsonSchema({"x-kubernetes-int-or-string": True})]
"""A quantity in a place where a rule would be evaluated too often; Kubernetes checks it in the pod."""

StorageSize = Annotated[
    str,
    BeforeValidator(str),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
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

ImageReference = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        json_schema_extra=rules(
            Rule(
                r"self.matches('^[^\\s]+$')",
                "must be an image without spaces in it, such as registry.example.com/mlflow:3.17.2",
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
                'must be an exact MLflow release of three numbers, such as "3.17.2"',
            )
        ),
    ),
]
"""An exact MLflow release, ``major.minor.patch``."""
