"""Everything that the development cluster and its images are made of, built in the order in which a demo needs it.

`python -m dev.warm` builds what is missing, which is done once per machine; `python -m dev.warm --tests` what tests take, too.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dev.database.image import postgres_recipe
from dev.development_cluster import development_cluster
from dev.images.build import build_images
from dev.images.recipes import EXTRAS, mlflow_recipe, mlflow_versions, operator_recipe
from dev.ingress.image import traefik_archive
from dev.kubernetes_schemas import MINOR_VERSIONS, schemas
from dev.local_cluster.binaries import build_binaries, published_program
from dev.local_cluster.cluster import LocalCluster
from dev.mlflow_process import mlflow_python
from dev.oauth2_proxy import oauth2_proxy_archive
from dev.object_store.image import versitygw_recipe

FOR_TESTS = "--tests"


def build_all() -> None:
    """Build the cluster's programs, then the images, then what is deployed last."""
    if isinstance(development_cluster(), LocalCluster):
        build_binaries()
    build_images([operator_recipe()])
    build_images([postgres_recipe(), versitygw_recipe(), mlflow_recipe()])
    traefik_archive()


def build_for_tests() -> None:
    """Build what only tests take, which `make demo` need not wait for.

    That is the release of MLflow from which servers are upgraded, releases of MLflow without an image, Helm, krew, kubeconform and its
    schemas, oauth2-proxy.
    """
    *_, before, newest = mlflow_versions()
    build_images([mlflow_recipe(before)])
    for version in (newest, before):
        mlflow_python(version)
    mlflow_python(newest, *EXTRAS)
    for name in ("kubeconform", "krew", "validate-krew-manifest"):
        published_program(name)
    for minor in MINOR_VERSIONS:
        schemas(minor)
    published_program("helm")
    oauth2_proxy_archive()


@contextmanager
def builds_in_background() -> Iterator[None]:
    """Build it all in another process, which yields to this one; who needs a part waits for it and is told so.

    What is still being built at the end goes on only if the block has ended well.
    """
    command = ["nice", "-n", "10", sys.executable, "-m", "dev.warm"]
    builds = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that compilers can be ended with it
    )
    try:
        yield
    except BaseException:
        os.killpg(builds.pid, signal.SIGTERM)
        raise
    finally:
        builds.wait()


if __name__ == "__main__":
    build_all()
    if sys.argv[1:] == [FOR_TESTS]:
        build_for_tests()
