"""Open databases with the credentials of the pod that this runs in: `python open_databases.py DATABASE…`.

Prints as JSON what PostgreSQL said against each; null where it opened the database and answered.
"""

import json
import sys
from contextlib import closing

import psycopg2

SERVICE = "mlflow"  # in the file that PGSERVICEFILE names: host, login, password and CA


def main(databases: list[str]) -> None:
    """Try each."""
    print(json.dumps({database: refusal_of(database) for database in databases}))


def refusal_of(database: str) -> str | None:
    """What PostgreSQL said; None if it answered a query."""
    try:
        with (
            closing(psycopg2.connect(service=SERVICE, dbname=database)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT count(*) FROM pg_tables")
    except psycopg2.Error as error:
        return str(error)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
