"""The releases of MLflow that the operator offers, and each of them without an image: what its image holds, as a virtual environment
in the cache folder.

Tests run the newest one, and upgrade to it from the one before. `make matrix` goes the whole way from the oldest, and runs what is
marked `each_mlflow` with all of them."""

import os
from typing import Final

from dev.mlflow_process import mlflow_python

__all__ = [
    "HEADS",
    "LOGIN_HEAD",
    "MLFLOW_VERSION",
    "NEWEST_MIGRATION",
    "NEWEST_VERSION",
    "VERSION_BEFORE",
    "mlflow_python",
]

HEADS: Final = {"3.16.1": "b7e2c1a4d9f3", "3.17.2": "dc11669786a5", "3.18.0": "f4a9b2c7d1e6"}
"""The schema revision of each release, the oldest first."""
*_, VERSION_BEFORE, NEWEST_VERSION = HEADS
MLFLOW_VERSION: Final = os.environ.get("TRACKING_OPERATOR_TEST_MLFLOW", NEWEST_VERSION)
"""The release that tests run which are marked `each_mlflow`."""
NEWEST_MIGRATION: Final = f"mlflow-migrate-{NEWEST_VERSION.replace('.', '-')}"
"""The Job that brings the database of a server `mlflow` up to the newest release."""
LOGIN_HEAD: Final = "f1a2b3c4d5e6"
"""The revision of the login's tables, in all of them."""
