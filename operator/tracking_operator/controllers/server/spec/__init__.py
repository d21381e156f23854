"""What a server may have: what its class permits, where its data lives, what is around it."""
