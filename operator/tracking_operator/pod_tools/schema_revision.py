"""Which schema an installed MLflow needs, read from its migrations.

Importing it would cost seconds at every start of a pod.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tracking_operator.pod_tools.checks import CheckFailed

SCHEMA_TABLE = "alembic_version"
LOGIN_TABLE = "alembic_version_auth"
"""Where Alembic keeps the revision of MLflow's schema, and that of the tables of its login."""
REVISION = {
    SCHEMA_TABLE: "SELECT version_num FROM alembic_version",
    LOGIN_TABLE: "SELECT version_num FROM alembic_version_auth",
}


@dataclass(frozen=True)
class Migrations:
    """The chain of schema revisions that an installed MLflow knows."""

    revisions: frozenset[str]
    head: str


def require_version(wanted: str) -> None:
    """Refuse an image whose MLflow is not the version that the TrackingServer names."""
    try:
        found = importlib.metadata.version("mlflow")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != wanted:
        raise CheckFailed(
            "ImageVersionMismatch",
            f"The image holds MLflow {found}, but version {wanted} is asked for: "
            "set spec.version to what the image holds, or choose another image.",
        )


def installed_migrations() -> Migrations:
    """Read the schema revisions from the migration scripts of the installed MLflow, without importing it."""
    return migrations_below("store", "db_migrations", "versions")


def installed_login_migrations() -> Migrations:
    """The same for the tables of MLflow's own login."""
    return migrations_below("server", "auth", "db", "migrations", "versions")


def installed_login_tables() -> frozenset[str]:
    """The tables that the migrations of MLflow's own login make, whether a later one removes them or not."""
    scripts = scripts_below("server", "auth", "db", "migrations", "versions")
    found = (re.findall(r"""create_table\(\s*["'](\w+)["']""", script) for script in scripts)
    return frozenset(name for names in found for name in names)


def migrations_below(*folders: str) -> Migrations:
    """Read the revisions from a folder of the installed MLflow."""
    return migrations_in(scripts_below(*folders))


def scripts_below(*folders: str) -> Iterable[str]:
    """The migration scripts in a folder of the installed MLflow."""
    package = importlib.util.find_spec("mlflow")
    if package is None or not package.submodule_search_locations:
        raise CheckFailed("ImageVersionMismatch", "The image holds no MLflow package.")
    folder = Path(package.submodule_search_locations[0]).joinpath(*folders)
    return [path.read_text() for path in folder.glob("*.py")]


def migrations_in(scripts: Iterable[str]) -> Migrations:
    """Work out the chain of revisions that Alembic scripts describe."""
    revisions: set[str] = set()
    replaced: set[str] = set()
    for script in scripts:
        for name, value in re.findall(r"^(revision|down_revision)\b[^=\n]*=(.*)", script, re.MULTILINE):
            found = revisions if name == "revision" else replaced
            found.update(re.findall(r"""["'](\w+)["']""", value))
    heads = revisions - replaced
    if len(heads) != 1:
        raise CheckFailed("MigrationFailed", f"The image's migrations have {len(heads)} heads, not one.")
    return Migrations(frozenset(revisions), heads.pop())


def require_known(found: str, migrations: Migrations, version: str) -> None:
    """Refuse a schema that comes from a newer MLflow."""
    if found not in migrations.revisions:
        raise too_new(found, version)


def too_new(found: str, version: str) -> CheckFailed:
    """Say that the schema comes from a newer MLflow."""
    return CheckFailed(
        "SchemaTooNew",
        f"The database is at revision {found}, which MLflow {version} does not know: it was written by a newer "
        "version. Set spec.version to that version again.",
    )
