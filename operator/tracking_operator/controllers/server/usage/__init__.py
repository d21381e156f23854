"""How much a server has in its stores: when that is measured, and what is told of it."""
