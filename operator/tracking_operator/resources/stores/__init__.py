"""Where the data of one server lives, a file per kind: what builders, conditions and permissions ask a store, and its answers. Pure."""
