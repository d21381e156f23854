"""What is printed for people: without characters that steer a terminal, and in colours where a terminal shows them.

A tenant writes parts of statuses, Events and logs, and somebody else's terminal shows them.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TextIO

from tracking_operator.foreign_text import one_line, printable

LONGEST_PIECE: Final = 4096
"""In characters: twice the longest message of a condition that the operator writes."""


class Style(StrEnum):
    """How a piece of text looks: the parameters of ECMA-48's SGR."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


@dataclass(frozen=True)
class Piece:
    """A part of a line, whoever has written it."""

    text: str
    style: Style = Style.PLAIN
    width: int = 0
    """How many columns it takes at least."""

    def shown(self, *, in_colours: bool) -> str:
        """The text as it may be printed: on one line, with nothing in it that steers the terminal."""
        text = one_line(self.text, LONGEST_PIECE)
        blanks = " " * (self.width - len(text))
        if not in_colours or not self.style:
            return text + blanks
        return f"\x1b[{self.style}m{text}\x1b[0m{blanks}"


Line = tuple[Piece, ...]


def show(lines: Iterable[Line]) -> None:
    """Print lines, in colours where the standard output is a terminal that is to have them."""
    in_colours = has_colours(sys.stdout)
    for line in lines:
        print("".join(piece.shown(in_colours=in_colours) for piece in line).rstrip())


def has_colours(stream: TextIO) -> bool:
    """Whether colours are wanted: on terminals, unless NO_COLOR has a value (https://no-color.org) or TERM is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """Print sentences that may quote what others wrote."""
    print(printable(text), flush=True)


def complain(text: str) -> None:
    """Print on the standard error why something cannot be done; it may quote what others wrote."""
    print(printable(text), file=sys.stderr)
