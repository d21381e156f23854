"""What happens when a server is deleted: data and access, in the cluster and outside."""
