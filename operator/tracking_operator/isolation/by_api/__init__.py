"""What a team tries at the Kubernetes API, as an administrator of its own namespace and of nothing else."""
