"""What tests, demo and measurements offer in their classes, where it does not matter to them."""

from collections.abc import Mapping
from typing import Any, Final

Spec = Mapping[str, Any]
"""The specification of a TrackingServerClass."""

_GENEROUS: Final[dict[str, Any]] = {
    "limits": {"maxServersPerNamespace": 1000, "maxBucketPolicyPercentPerNamespace": 100},
    "permissions": {
        "externalStores": True,
        "deletionPolicyDelete": True,
        "podTemplate": {"labels": ["*"], "annotations": ["*"], "scheduling": True, "env": True},
    },
}
_OPEN: Final[dict[str, Any]] = {"none": {}}


def generous(spec: Spec) -> dict[str, Any]:
    """Return the specification with what it does not say: nobody has to log in, and teams may ask for much."""
    whole = _beneath(spec, _GENEROUS)
    access = dict(whole.get("access", {}))
    access.setdefault("authentication", _OPEN)
    return whole | {"access": access}


def _beneath(said: Spec, usual: Spec) -> dict[str, Any]:
    merged = dict(said)
    for key, value in usual.items():
        if isinstance(value, Mapping):
            merged[key] = _beneath(said.get(key, {}), value)
        else:
            merged.setdefault(key, value)
    return merged
