"""`make audit` says what is known of a lock, and says so when nothing is; a server on loopback answers as OSV does."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from dev import vulnerabilities
from dev.vulnerabilities import (
    EXCEPTIONS,
    FINE,
    NOT_ANSWERED,
    TO_DO,
    NotAnsweredError,
    Vulnerability,
    audit,
    left_over,
    main,
    read_exemptions,
)

KNOWN = {"vulns": [{"id": "GHSA-1", "aliases": ["CVE-1"], "affected": [
    {"package": {"name": "six", "ecosystem": "PyPI"},
     "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.0"}]}]}
]}]}  # fmt: skip
"""What OSV answers (https://google.github.io/osv.dev/post-v1-query/)."""
FOUND = Vulnerability("six", "1.17.0", ["CVE-1", "GHSA-1"], ["9.0"])


class Osv(BaseHTTPRequestHandler):
    """A database that knows of one vulnerability of six."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(KNOWN if asked["package"]["name"] == "six" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Osv)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A folder whose lock has two packages, one of which is vulnerable."""
    packages = "".join(
        f'[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ registry = "https://packages.example.com/simple" }}\n'
        f'sdist = {{ url = "https://files.example.com/{name}.tar.gz", hash = "sha256:{"0" * 64}", size = 1 }}\n'
        for name, version in (("idna", "3.20"), ("six", "1.17.0"))
    )
    project = 'name = "x"\nversion = "1"\n'
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\n{project}requires-python = ">=3.11"\ndependencies = ["idna", "six"]\n'
    )
    (tmp_path / "uv.lock").write_text(
        f'version = 1\nrequires-python = ">=3.11"\n{packages}[[package]]\n{project}source = {{ virtual = "." }}\n'
        'dependencies = [{ name = "idna" }, { name = "six" }]\n'
    )
    return tmp_path


@pytest.mark.usefixtures("osv")
def test_a_known_vulnerability_is_found_with_all_of_its_names(lock: Path) -> None:
    assert audit(lock) == [FOUND]
    assert str(FOUND) == ("six 1.17.0 has CVE-1 alias GHSA-1, fixed in 9.0: `uv lock --upgrade-package six`.")


def test_a_database_that_does_not_answer_is_no_good_news(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSV_URL", "http://127.0.0.1:1/v1/query")
    with pytest.raises(NotAnsweredError, match="the database cannot be asked"):
        audit(lock)


def test_an_exception_is_about_any_name_of_it() -> None:
    assert left_over([FOUND, FOUND], set()) == [FOUND]
    assert left_over([FOUND], {"CVE-1"}) == []


@pytest.mark.parametrize(("days", "code"), [(0, FINE), (1, FINE), (-2, TO_DO)])
@pytest.mark.usefixtures("osv")
def test_an_exception_ends_with_its_day(
    days: int, code: int, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = datetime.now(UTC).date() + timedelta(days=days)
    file = lock / "exceptions.toml"
    file.write_text(f'[[exception]]\nid = "CVE-1"\nuntil = {until}\nreason = "x"\n')
    monkeypatch.setattr(vulnerabilities, "EXCEPTIONS", file)
    monkeypatch.setattr(vulnerabilities, "_locks", lambda _: [lock])
    assert main() == code


def test_without_an_answer_the_exit_code_is_one_of_its_own(
    lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSV_URL", "http://127.0.0.1:1/v1/query")
    monkeypatch.setattr(vulnerabilities, "_locks", lambda _: [lock])
    assert main() == NOT_ANSWERED
    assert capsys.readouterr().err.startswith("Nothing is known about vulnerabilities: ")


def test_each_exception_of_the_repository_has_a_name_and_a_reason() -> None:
    """The day itself is left to `make audit`: a test would fail on a day on which nobody changed anything."""
    assert all(one.id and one.reason for one in read_exemptions(EXCEPTIONS))
