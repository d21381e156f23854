"""Runs in the migration Job."""
