"""What goes wrong in the demo, as a sentence for the person at the keyboard."""


class DemoError(Exception):
    """The demo cannot go on; the message says what happened, to which resource, and where to look."""
