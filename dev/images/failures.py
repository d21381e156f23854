"""What goes wrong with an image, as a sentence for the person at the keyboard."""


class ImageError(Exception):
    """An image cannot be built; the message says what happened and what would help."""
