"""The pods of a server and of its Jobs: what runs in them, with what it may touch."""
