"""How a server's pods stand, and when they may start."""
