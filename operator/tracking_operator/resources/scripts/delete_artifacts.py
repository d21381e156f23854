"""Runs on the artifact store of a server; filled in by the next change."""
