"""The programs' configuration files."""

from pathlib import Path

import yaml


def write_yaml(file: Path, content: object) -> Path:
    """Write `content` as YAML, with the folders above it, and return the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content))
    return file
