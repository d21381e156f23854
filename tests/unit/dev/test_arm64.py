"""What images install is published for arm64 as for amd64, so that a machine with such a processor can build them from the same locks."""

import tomllib
from pathlib import Path

import pytest

from dev.images.recipes import ROOT

LOCKS = [ROOT / "uv.lock", *sorted((ROOT / "dev" / "images" / "mlflow").glob("*/uv.lock"))]
PYTHONS = ("cp311-", "-abi3-", "py3-none-")
"""What a wheel for the images' Python has in its name."""


def wheels_for(processor: str, names: list[str]) -> bool:
    return any(
        "manylinux" in name and processor in name and any(python in name for python in PYTHONS)
        for name in names
    )


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_whatever_has_a_wheel_for_amd64_has_one_for_arm64(lock: Path) -> None:
    packages = tomllib.loads(lock.read_text())["package"]
    wheels = {
        f"{one['name']} {one['version']}": [
            wheel["url"].rpartition("/")[2] for wheel in one.get("wheels", ())
        ]
        for one in packages
    }
    for_amd64 = {name for name, names in wheels.items() if wheels_for("x86_64", names)}
    assert for_amd64
    assert [name for name in sorted(for_amd64) if not wheels_for("aarch64", wheels[name])] == []
