"""`python -m dev.site`: build the documentation into site/; a broken link or anchor is an error. `--check` only looks."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dev.site.links import BrokenLinkError
from dev.site.navigation import Entry, navigation
from dev.site.pages import titles, write_pages

ROOT: Final = Path(__file__).parents[2]
SITE: Final = ROOT / "site"
SETTINGS: Final = Path(__file__).with_name("zensical.toml")
STYLE: Final = Path(__file__).with_name("extra.css")
ZENSICAL: Final = Path(sys.executable).with_name("zensical")


class SiteError(Exception):
    """The site cannot be built; the message says which page is wrong where."""


def build(root: Path, work: Path) -> Path:
    """Build the pages of `root` and return the folder of the site, which is in the empty folder `work`.

    Raises SiteError: a link or an anchor leads nowhere.
    """
    try:
        write_pages(root, work / "pages")
    except BrokenLinkError as error:
        raise SiteError(str(error)) from error
    shutil.copyfile(STYLE, work / "pages" / STYLE.name)
    settings = work / "zensical.toml"
    settings.write_text(settings_text(navigation(titles(root))), encoding="utf-8")
    command = [str(ZENSICAL), "build", "--strict", "--config-file", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"NO_COLOR": "1"})
    if done.returncode != 0:
        raise SiteError((done.stdout + done.stderr).partition("Traceback")[0])
    return work / "html"


def settings_text(entries: Sequence[Entry]) -> str:
    """The settings with the navigation; TOML's strings are JSON's."""
    found = f'docs_dir = "pages"\nsite_dir = "html"\nnav = {_toml(entries)}\n'
    return SETTINGS.read_text(encoding="utf-8").replace("[project]\n", f"[project]\n{found}", 1)


def _toml(value: "str | Sequence[Entry]") -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    tables = (f"{{ {_toml(title)} = {_toml(below)} }}" for entry in value for title, below in entry.items())
    return f"[{', '.join(tables)}]"


def main() -> int:
    """Build this repository's pages."""
    parser = argparse.ArgumentParser(prog="python -m dev.site", description=__doc__)
    parser.add_argument("--check", action="store_true", help="build it, and throw it away")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            built = build(ROOT, Path(folder))
        except SiteError as error:
            print(error, file=sys.stderr)
            return 1
        if not arguments.check:
            shutil.rmtree(SITE, ignore_errors=True)
            shutil.move(built, SITE)
            print(SITE / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
