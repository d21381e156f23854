"""Which address a server has, who else claims it, how it changes."""
