"""The users that MLflow has for the programs of other namespaces."""
