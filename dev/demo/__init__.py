"""The demo: a cluster, the operator, a tracking server for each of two teams, and a real training logged to one."""
