"""An operator that gives every team its own isolated MLflow tracking server."""
