"""What is on a page of the documentation for people to copy."""

import re
from collections.abc import Iterator


def blocks(text: str, *languages: str) -> Iterator[tuple[str, str]]:
    """The blocks of code of a page in one of these languages, each with its language."""
    for found in re.finditer(r"^( *)```(\w+)\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL):
        if found[2] in languages:
            yield found[2], re.sub(f"^{found[1]}", "", found[3], flags=re.MULTILINE)


def commands(text: str) -> Iterator[str]:
    """The lines of a page that a person types: in a console those after the prompt, in a script all."""
    for language, block in blocks(text, "console", "sh", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ ") or language != "console":
                yield line.removeprefix("$ ")
