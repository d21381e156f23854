"""The objects of a server in its namespace: whose they are, and what they tell."""
