"""What the stores in the development cluster have in common: how a server that keeps data is run there."""
