"""oauth2-proxy, which logs people in at an identity provider: the program, and an image of it for the development cluster."""

from pathlib import Path

from dev.local_cluster.binaries import published_program
from dev.local_cluster.small_images import SmallImage, archive_of
from dev.local_cluster.versions import pinned

NAME = "oauth2-proxy"
IMAGE = f"docker.io/tracking-operator/oauth2-proxy:{pinned(NAME)}"


def oauth2_proxy_program() -> Path:
    """The program, a static binary; built in about two minutes when it is not in the cache."""
    return published_program(NAME)


def oauth2_proxy_archive() -> Path:
    """The image as an OCI archive: the program and nothing else."""
    return archive_of(SmallImage(IMAGE, {NAME: oauth2_proxy_program()}, [f"/{NAME}"]))
