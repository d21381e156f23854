"""The isolation matrix: everything that a tenant may try against another one, tried out on a running cluster."""
