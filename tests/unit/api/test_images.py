"""Which images the CRDs let in: those that a kubelet can read. Go's RE2 and Python's re mean the same by this pattern."""

import re

import pytest

from tracking_operator.api.base import IMAGE_PATTERN

DIGEST = f"sha256:{64 * 'a'}"


@pytest.mark.parametrize(
    "image",
    [
        "mlflow",
        "mlflow:3.17.2",
        "registry:5000/a/mlflow",
        "registry.example.com/a__b/c-d.e:v1_2.3",
        f"localhost/mlflow:1@{DIGEST}",
        f"mlflow@{DIGEST}",
        "[::1]:5000/mlflow",
        "registry.invalid/mlflow:3.17.2",
    ],
)
def test_can_be_read(image: str) -> None:
    assert re.match(IMAGE_PATTERN, image)


@pytest.mark.parametrize(
    "image",
    [
        "http://x/y:z",
        "a:b:c:d",
        "a b",
        "Mlflow",
        "mlflow:",
        "mlflow@sha256:0",
        "x//y",
        "mlflow:-a",
        "/mlflow",
        "a..b/",
    ],
)
def test_cannot_be_read(image: str) -> None:
    assert not re.match(IMAGE_PATTERN, image)
