"""A time that tests move."""


class Clock:
    """Counts seconds as ``time.monotonic`` does, but only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
