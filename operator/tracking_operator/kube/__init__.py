"""Kubernetes I/O on plain dicts. Nothing in here knows what a TrackingServer is."""
