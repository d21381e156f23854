"""The image of the development cluster's Ingress controller: one static program and nothing else."""

from pathlib import Path

from dev.local_cluster.binaries import published_program
from dev.local_cluster.small_images import SmallImage, archive_of
from dev.local_cluster.versions import pinned

NAME = "traefik"
IMAGE = f"docker.io/tracking-operator/traefik:{pinned(NAME)}"


def traefik_archive() -> Path:
    """The image as an OCI archive; four minutes when the program is not in the cache, else a moment."""
    return archive_of(SmallImage(IMAGE, {NAME: published_program(NAME)}, [f"/{NAME}"]))
