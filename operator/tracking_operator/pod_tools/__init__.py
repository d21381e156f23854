"""What runs in the pods of servers and of their Jobs, in any MLflow image: packed as one archive (decision 0039)."""
