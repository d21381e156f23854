"""`python -m dev.argocd`: write the generated files of manifests/argocd; `--check` says which are out of date."""

import argparse
import sys
from pathlib import Path
from typing import Final

from dev.argocd.examples import (
    action_files,
    backup_examples,
    class_examples,
    client_examples,
    health_files,
    server_examples,
)
from dev.argocd.scripts import (
    BACKUP,
    CLIENT,
    GENERATED,
    SERVER,
    SERVER_CLASS,
    config_map,
    literal_yaml,
    scripts,
)
from dev.deploy import ROOT
from tracking_operator.api.labels_and_annotations import GROUP

FOLDER: Final = ROOT / "manifests" / "argocd"
CUSTOMIZATIONS: Final = "resource_customizations"


def files() -> dict[str, str]:
    """The text of each generated file, by its path below manifests/argocd."""
    made = scripts()
    customizations = {
        **made,
        **dict(health_files(SERVER, server_examples())),
        **dict(health_files(SERVER_CLASS, class_examples())),
        **dict(health_files(BACKUP, backup_examples())),
        **dict(health_files(CLIENT, client_examples())),
        **dict(action_files()),
    }
    below = {f"{CUSTOMIZATIONS}/{GROUP}/{path}": text for path, text in customizations.items()}
    return below | {"argocd-cm.yaml": f"# {GENERATED}{literal_yaml(config_map(made))}"}


def stale_files(folder: Path = FOLDER) -> dict[str, str | None]:
    """The generated files that differ, with the text that they should have; None: nothing makes this file any more."""
    wanted = files()
    there = {str(path.relative_to(folder)) for path in (folder / CUSTOMIZATIONS).rglob("*") if path.is_file()}
    left: dict[str, str | None] = dict.fromkeys(sorted(there - set(wanted)))
    return left | {name: text for name, text in wanted.items() if _text_in(folder / name) != text}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m dev.argocd", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    options = parser.parse_args(arguments)
    stale = stale_files()
    for name, text in stale.items():
        print(
            f"manifests/argocd/{name} {'is out of date; run `make generate`' if options.check else 'written'}"
        )
        if not options.check:
            _write(FOLDER / name, text)
    return 1 if options.check and stale else 0


def _text_in(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
