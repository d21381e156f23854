"""The stores that the operator makes for servers: what each is asked, what all do alike, and which there are."""
