"""When what a team has deleted in MLflow is removed for good, and what became of it."""
