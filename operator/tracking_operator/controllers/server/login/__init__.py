"""Who can log in to a server's MLflow, with which passwords."""
