"""Alerts, the dashboard and the list of metrics: made from Python, so that tests compare them with what the operator serves."""
