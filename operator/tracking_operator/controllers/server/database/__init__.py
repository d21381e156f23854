"""A server's database: its Secret and roles, its schema, the keys that encrypt what is in it."""
