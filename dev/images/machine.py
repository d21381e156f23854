"""What this machine's network needs during a build, and no image may hold: certificates, a package index, a mirror."""

import configparser
import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

CERTIFICATE_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
EXTRA_CERTIFICATES = Path("/usr/local/share/ca-certificates")
PIP_FILES = ("/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf")
INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
EXTRA_INDEX = ("UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
AS_THEY_ARE = ("UV_INSECURE_HOST", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT")


@contextmanager
def build_secrets(folder: Path, environment: Mapping[str, str] = os.environ) -> Iterator[dict[str, Path]]:
    """The build secrets by id, as files that are there while the block runs; empty on a machine without settings."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as own:
        secrets = {}
        if bundle := certificates(environment):
            secrets["certificates"] = bundle
        if settings := index_settings(environment, pip_configuration()):
            secrets["index"] = Path(own) / "index"
            secrets["index"].write_text("".join(f"{k}={shlex.quote(v)}\n" for k, v in settings.items()))
        yield secrets


def certificates(
    environment: Mapping[str, str] = os.environ,
    bundle: Path = CERTIFICATE_BUNDLE,
    extra: Path = EXTRA_CERTIFICATES,
) -> Path | None:
    """The machine's certificate bundle, where it trusts more than a plain Debian does."""
    chosen = Path(environment.get("SSL_CERT_FILE") or bundle)
    trusts_more = bool(environment.get("SSL_CERT_FILE")) or any(extra.rglob("*.crt"))
    return chosen if trusts_more and chosen.is_file() else None


def index_settings(environment: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """The package index for both uv and pip, whichever of them the machine was set up for.

    Args:
        environment: of this process.
        pip: the `[global]` section of pip's configuration.
    """
    settings = {name: environment[name] for name in AS_THEY_ARE if environment.get(name)}
    if index := _first(environment, INDEX) or pip.get("index-url"):
        settings |= {"UV_DEFAULT_INDEX": index, "PIP_INDEX_URL": index}
    if extra := _first(environment, EXTRA_INDEX) or pip.get("extra-index-url"):
        settings |= {"UV_EXTRA_INDEX_URL": extra, "PIP_EXTRA_INDEX_URL": extra}
    return settings


def pip_configuration(files: Iterable[str] = PIP_FILES) -> dict[str, str]:
    """The `[global]` section of pip's configuration files; the user's come last and win."""
    parser = configparser.RawConfigParser()
    parser.read([Path(file).expanduser() for file in files])
    return dict(parser["global"]) if parser.has_section("global") else {}


def debian_sources(suite: str) -> list[str]:
    """The machine's own `deb` lines for a Debian suite, its updates and its security fixes, main only.

    Empty where apt is set up for another suite, or is not there.
    """
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    try:
        listed = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    except FileNotFoundError:
        return []
    targets = {tuple(line.split()) for line in listed.splitlines() if line.endswith(" main")}
    found = sorted((wanted.index(target[1]), target[0]) for target in targets if target[1] in wanted)
    return [f"deb {site} {wanted[position]} main" for position, site in found]


def _first(environment: Mapping[str, str], names: Iterable[str]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)
