"""What it takes to develop the operator: a local cluster, container images and the demo."""
