"""`make release`: what a version of the operator is published as, and what has to agree before."""

from typing import Final

OPERATOR_IMAGE: Final = "tracking-operator/operator"
MLFLOW_IMAGE: Final = "tracking-operator/mlflow"
"""The images, as manifests/base and the operator's defaults name them."""


class ReleaseError(Exception):
    """Nothing was released; the message says why and what to do."""
