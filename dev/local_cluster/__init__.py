"""A real Kubernetes node on one Linux machine, without Docker."""
