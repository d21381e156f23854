"""One file per thing that is measured; each gives a table of the report."""
