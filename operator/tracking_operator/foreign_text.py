"""Text that others wrote, such as a tenant's database: made fit for a condition, an Event or a log.

Control characters move the cursor of whoever reads it in a terminal, and bidi characters (https://unicode.org/reports/tr9/)
show a sentence in another order than it has.
"""

import unicodedata
from typing import Final

_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Control characters, what is not seen or changes the direction of writing (bidi), surrogates, and what nobody has assigned."""

LONGEST_CONDITION: Final = 2048
"""In characters. The API allows 32,768 (metav1.Condition), for each of ten conditions of each server."""
LONGEST_EVENT: Final = 1024
"""The API server refuses longer ones (k8s.io/kubernetes/pkg/apis/core/validation, NoteLengthLimit)."""

_ELLIPSIS: Final = "…"
_LONGEST_WORD: Final = 100
"""A word that is cut may be this long at most; before a longer one there may be little to end with."""


def one_line(text: str, longest: int) -> str:
    """The text as one line of at most ``longest`` characters that print, from left to right."""
    # What is cut off need not be looked at; spaces may be many.
    words = " ".join(text[: 4 * longest].split())
    return "".join(char for char in words if unicodedata.category(char) not in _UNSAFE_CATEGORIES)[:longest]


def printable(text: str) -> str:
    """The text with a blank for each character that does not print; lines stay."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(one if one == "\n" or one.isprintable() else " " for one in text)


def shortened(text: str, limit: int) -> str:
    """The text if it has at most ``limit`` characters, else as many whole words as fit, and an ellipsis."""
    if len(text) <= limit:
        return text
    kept = text[: limit - len(_ELLIPSIS)]
    last_blank = max(kept.rfind(" "), kept.rfind("\n"))
    if last_blank >= len(kept) - _LONGEST_WORD and last_blank > 0:
        kept = kept[:last_blank]
    return kept.rstrip() + _ELLIPSIS


def quotable(text: str, limit: int) -> str:
    """A text of at most ``limit`` printable characters; not more than that of a long one is looked at."""
    return shortened(printable(text[: limit + 1]), limit)
