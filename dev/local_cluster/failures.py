"""What goes wrong with the development cluster, as a sentence for the person at the keyboard."""


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says what happened and what would help."""
