"""What is done to a server at planned times."""
