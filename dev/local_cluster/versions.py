"""The pinned versions of `dev/versions.toml`."""

import tomllib
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent.parent / "versions.toml"


@cache
def _all() -> dict[str, dict[str, object]]:
    return tomllib.loads(FILE.read_text())


def pinned(component: str, field: str = "version", *, default: str | None = None) -> str:
    """One pinned value, for example `pinned("etcd")` or `pinned("kube-router", "module")`; `default` where it may be missing."""
    values = _all()[component]
    value = values[field] if default is None else values.get(field, default)
    if not isinstance(value, str):
        raise TypeError(f"{FILE.name}: {component}.{field} is not a string")
    return value
