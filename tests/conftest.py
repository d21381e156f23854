"""What every group of tests can ask for: a running cluster and a namespace in it.

The test cluster stays up between runs, so that the next run starts at once; with CI=true it is removed at the end,
unless TRACKING_OPERATOR_KEEP_TEST_CLUSTER=true says that somebody else does so. It is never the demo's cluster. Where pytest-xdist
runs several processes, each has a cluster of its own: only one operator is active in a cluster.
"""

import gc
import os
from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import settings

from dev.development_cluster import DevelopmentCluster, development_cluster
from tests.operator_fixtures import (  # noqa: F401 — fixtures
    api,
    calls,
    installation,
    operator,
    operators,
    servers,
    team,
)
from tests.waiting import wait_until

# A deadline per example measures the machine, which other builds and clusters may keep busy, not the code.
settings.register_profile("tracking-operator", deadline=None)
settings.load_profile("tracking-operator")

OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Thousands of tests, and what they import, stay: Python by itself would look through them again and again."""
gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])

FIRST_WORKERS = ("", "gw0")
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
TEST_CLUSTER = os.environ.get("TRACKING_OPERATOR_TEST_CLUSTER", "tracking-operator-test") + (
    "" if WORKER in FIRST_WORKERS else f"-{WORKER}"
)
SECONDS_FOR_A_NAMESPACE = 20
LINES_OF_A_REASON = 12


def pytest_collection_finish() -> None:
    """Do not look for garbage among what has been collected: it is there until the end."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why tests had to be run again: a test that passed the second time hides what it has found."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.write_line(f"RUN AGAIN {report.nodeid}: {reason_of(report)}")


def reason_of(report: pytest.TestReport) -> str:
    """What was wrong: where that is long, as the output of a program is, its end says it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).strip().splitlines()
    return "\n  ".join(lines[:1] + lines[1:][-LINES_OF_A_REASON:])


@pytest.fixture(scope="session")
def cluster() -> Iterator[DevelopmentCluster]:
    """A real cluster that runs pods."""
    cluster = development_cluster(TEST_CLUSTER)
    cluster.create()
    yield cluster
    if is_set("CI") and not is_set("TRACKING_OPERATOR_KEEP_TEST_CLUSTER"):
        cluster.delete()


@pytest.fixture
def namespace(cluster: DevelopmentCluster) -> Iterator[str]:
    """A new namespace, in which pods can be created; it is deleted afterwards, without waiting for its end."""
    name = f"test-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    _wait_for_default_service_account(cluster, name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def restricted_namespace(cluster: DevelopmentCluster, namespace: str) -> str:
    """A new namespace that admits only pods of the `restricted` Pod Security Standard."""
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    return namespace


def is_set(variable: str) -> bool:
    """Whether an environment variable is `true`."""
    return os.environ.get(variable, "").lower() == "true"


def _wait_for_default_service_account(cluster: DevelopmentCluster, namespace: str) -> None:
    """Pods are refused in a new namespace until the controller manager has made its `default` ServiceAccount."""
    wait_until(
        lambda: cluster.kubectl("get", "serviceaccount", "--namespace", namespace, "--output=name"),
        SECONDS_FOR_A_NAMESPACE,
        f"namespace {namespace} has a default ServiceAccount",
    )
