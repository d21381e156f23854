"""The worked example: what its page says is done as a reader does it."""
