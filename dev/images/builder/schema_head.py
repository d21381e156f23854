"""Print the schema revision of a migrated SQLite store, and leave the file as small as it gets."""

import sqlite3
import sys


def main() -> None:
    """Read the store named on the command line."""
    store = sqlite3.connect(sys.argv[1])
    store.execute("VACUUM")
    (head,) = store.execute("SELECT version_num FROM alembic_version").fetchone()
    store.close()
    sys.stdout.write(f"{head}\n")


if __name__ == "__main__":
    main()
