"""The project's container images: what they are built from, by which engine, and where the archives are."""

from dev.images.build import Image, build_images, built_images
from dev.images.failures import ImageError

__all__ = ["Image", "ImageError", "build_images", "built_images"]
