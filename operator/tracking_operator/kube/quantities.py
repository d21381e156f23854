"""Resource quantities (``250m``, ``640Mi``) as numbers that compare."""

import re
from decimal import Decimal
from typing import Final

_LONGEST: Final = 64
"""In characters: twice as many as our resources may have, and more than Kubernetes ever writes."""

_SYNTAX: Final = re.compile(
    r"(?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?P<suffix>[KMGTPE]i|[numkMGTPE]?|[eE](?P<exponent>[-+]?[0-9]{1,2}))"
)
"""Kubernetes' own (apimachinery, pkg/api/resource/quantity.go), with an exponent of two digits at most.

Kubernetes reads an exponent as 64 bits and keeps 32 of them, so that a long one means another number there than here.
"""

_UNITS: Final = {
    "": Decimal(1),
    **{prefix: Decimal(10) ** (3 * power) for power, prefix in enumerate("num", start=-3)},
    **{prefix: Decimal(10) ** (3 * power) for power, prefix in enumerate("kMGTPE", start=1)},
    **{f"{prefix}i": Decimal(1024) ** power for power, prefix in enumerate("KMGTPE", start=1)},
}


def parse_quantity(value: object) -> Decimal:
    """Return the amount that a quantity, or a number, stands for in Kubernetes.

    Raises ValueError, which says why: it is none, or its exponent has more than two digits.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"A {type(value).__name__} is not a Kubernetes quantity, such as 500m, 2 or 640Mi.")
    text = str(value)
    if len(text) > _LONGEST or (found := _SYNTAX.fullmatch(text)) is None:
        raise ValueError(
            f"{text[:_LONGEST]!r} is not a Kubernetes quantity, such as 500m, 2 or 640Mi, with an exponent of two digits at most."
        )
    number, suffix, exponent = found.group("number", "suffix", "exponent")
    unit = Decimal(10) ** int(exponent) if exponent else _UNITS[suffix]
    return Decimal(number) * unit


_BINARY_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def readable_bytes(amount: int) -> str:
    """Write bytes in the largest unit that fits, for people: ``900 B``, ``7.6 MiB``, ``1.2 TiB``."""
    power = min((amount.bit_length() - 1) // 10, len(_BINARY_UNITS)) if amount else 0
    return f"{amount / 1024**power:.1f} {_BINARY_UNITS[power - 1]}" if power else f"{amount} B"
