"""The demo: a cluster, the operator, a tracking server for team-a, and a real training logged to it."""
