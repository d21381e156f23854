"""Whether requests from outside reach a server."""
