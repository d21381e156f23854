"""The command line: ``tracking-operator``, and the same as a plugin of kubectl."""
