"""A server's prefix in the bucket: its identity, its Secret, whether it was tried out."""
