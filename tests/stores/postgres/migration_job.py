"""A migration Job, without the Job: its program as a process, on the database of a server, with a stand-in for MLflow."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.mlflow_image import Answer, MlflowImage
from tests.pod_programs import MIGRATE_STORE
from tests.stores.postgres.pod import Pod
from tests.stores.postgres.world import Row, World, desired, tenant

PASSWORD = "p@ss w/o:r#d=1;%20'x\"\\ü"
NO_OPTIONS = {"PGOPTIONS": ""}
"""Only a database of the server's own gets any."""
VERSION = "--version=3.17.2"


@dataclass
class Job:
    """A migration Job's pods, one after the other or at the same time."""

    pod: Pod
    folder: Path

    @property
    def gate(self) -> Path:
        """A migration that was told to stop at the gate goes on when this file is there."""
        return self.folder / "gate"

    @property
    def upgrades(self) -> list[str]:
        """The command line of each run of `mlflow db upgrade`."""
        file = self.folder / "runs"
        return file.read_text().splitlines() if file.exists() else []

    def environment(self, **more: str) -> dict[str, str]:
        return {"FAKE_MIGRATION_RUNS": str(self.folder / "runs")} | more

    def arguments(self) -> tuple[str, ...]:
        return ("postgres", str(self.pod.service_file), VERSION)

    def run(self, **environment: str) -> Answer:
        return self.pod.run(MIGRATE_STORE, *self.arguments(), **self.environment(**environment))

    def run_external(self, uri: str, **environment: str) -> Answer:
        place = self.folder / "uri"
        place.write_text(uri)
        arguments = ("external", str(place), VERSION)
        return self.pod.run(MIGRATE_STORE, *arguments, **self.environment(**NO_OPTIONS, **environment))

    def tables(self) -> list[str]:
        rows = self.rows(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'added%' ORDER BY 1"
        )
        return [str(name) for (name,) in rows]

    def revisions(self) -> list[str]:
        return [str(name) for (name,) in self.rows("SELECT version_num FROM alembic_version")]

    def sessions(self) -> list[Row]:
        query = "SELECT pid, state, query FROM pg_stat_activity WHERE usename = ANY(%s)"
        return self.pod.world.sql(query, list(tenant().logins))

    def rows(self, query: str) -> list[Row]:
        connected = self.pod.world.connected(tenant().logins[0], PASSWORD, tenant().database)
        with connected as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def uri(self, password: str = PASSWORD, *, port: int = 0) -> str:
        """The database as somebody would name it who has brought it."""
        address = f"127.0.0.1:{port or self.pod.world.running.port}/{tenant().database}"
        return f"postgresql+psycopg2://{tenant().logins[0]}:{quote(password, safe='')}@{address}"


def new_job(world: World, folder: Path) -> Job:
    """A Job whose database exists, is empty, and lets it in."""
    world.provision(desired(tenant(), PASSWORD))
    image = MlflowImage.build(folder / "image")
    mounted = folder / "backend-store"
    mounted.mkdir()
    pod = Pod(mounted, world, tenant(), image=image.environment())
    pod.mount(tenant().logins[0], PASSWORD)
    return Job(pod, folder)
