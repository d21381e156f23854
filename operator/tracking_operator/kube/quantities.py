"""Resource quantities (``250m``, ``640Mi``) as numbers that compare."""

from decimal import Decimal

from kubernetes.utils.quantity import parse_quantity as parse_untyped


def parse_quantity(text: str) -> Decimal:
    """Return the amount that a quantity stands for. Raises ValueError: it is none."""
    return Decimal(parse_untyped(text))  # type: ignore[no-untyped-call]
