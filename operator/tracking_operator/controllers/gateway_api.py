"""Whether the cluster has the Gateway API: it may come and go while the operator runs."""

import asyncio


class GatewayApi:
    """What is known about it, and the wish that somebody looks."""

    def __init__(self) -> None:
        self.is_served = False
        """Whether HTTPRoutes can be written, and those that are there have been read."""
        self.is_wanted = asyncio.Event()
        """Set when a class names a Gateway although there is no such API: whoever watches looks at once then."""

    def ask_for(self) -> bool:
        """Whether the API is there; if not, have somebody look."""
        if not self.is_served:
            self.is_wanted.set()
        return self.is_served
