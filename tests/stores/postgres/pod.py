"""A pod of a server with a database of its own, without the pod: our programs as processes, beside a mounted Secret."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.mlflow_image import Answer
from tests.pod_programs import Program
from tests.stores.postgres.world import World
from tests.waiting import patient, wait_until
from tracking_operator.resources.stores.postgres import PG_OPTIONS
from tracking_operator.stores.postgres.tenant import Tenant

PYTHON = Path(sys.executable)
SECONDS_TO_SAY_SOMETHING = 60
SECONDS_TO_END = 300


@dataclass
class Pod:
    """Where the Secret is mounted, and the environment that its image brings.

    ``host`` and ``port`` are what the Secret says; the server's own unless a test sets others.
    """

    folder: Path
    world: World
    tenant: Tenant
    python: Path = PYTHON
    image: Mapping[str, str] = field(default_factory=dict)
    host: str = "localhost"
    port: int = 0

    @property
    def service_file(self) -> Path:
        return self.folder / "pg_service.conf"

    def mount(self, login: str, password: str) -> None:
        """Sync the Secret, as the kubelet does: at once, and whole."""
        ca = self.folder / "ca.crt"
        ca.write_text(self.world.ca)
        settings = {
            "host": self.host,
            "port": self.port or self.world.running.port,
            "dbname": self.tenant.database,
            "user": login,
            "password": password,
            "sslmode": "verify-full",
            "sslrootcert": ca,
            "connect_timeout": 10,
        }
        aside = self.folder / "..new"
        aside.write_text("".join(["[mlflow]\n", *(f"{key}={value}\n" for key, value in settings.items())]))
        aside.rename(self.service_file)

    @contextmanager
    def running(self, program: Program, *arguments: str, **environment: str) -> Iterator["Container"]:
        """Start a program with the Python of the image; if the test has not waited for its end, it is killed, with all that it started."""
        log = self.folder / f"termination-log-{os.urandom(4).hex()}"
        with (self.folder / f"{log.name}-output").open("w+b") as output:
            process = subprocess.Popen(
                [self.python, *program, *arguments],
                env=os.environ | self.image | self._environment(log) | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            container = Container(process, log, Path(output.name))
            try:
                yield container
            finally:
                container.kill()

    def run(self, program: Program, *arguments: str, **environment: str) -> Answer:
        """Run a program to its end."""
        with self.running(program, *arguments, **environment) as container:
            return container.answer()

    def _environment(self, log: Path) -> dict[str, str]:
        return {
            "PGSERVICEFILE": str(self.service_file),
            "PGOPTIONS": PG_OPTIONS,
            "TRACKING_OPERATOR_TERMINATION_LOG": str(log),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }


@dataclass
class Container:
    """A program that runs."""

    process: "subprocess.Popen[bytes]"
    termination_log: Path
    output_file: Path

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def says(self, text: str) -> None:
        """Wait until it does."""
        wait_until(
            lambda: text in self.output or self.process.poll() is not None, SECONDS_TO_SAY_SOMETHING, text
        )
        assert text in self.output, self.output

    def answer(self) -> Answer:
        """Wait for the end."""
        code = self.process.wait(patient(SECONDS_TO_END))
        said = json.loads(self.termination_log.read_text()) if self.termination_log.exists() else {}
        return Answer(
            code, said.get("reason", ""), said.get("message", ""), said.get("revision", ""), self.output
        )

    def kill(self) -> None:
        """End it as a node that loses its power does: nobody is asked, and children go as well."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
