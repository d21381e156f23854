"""Reproducible measurements of the operator on a development cluster; `python -m bench` writes the report."""
