"""The matrix as people read it: in a terminal, and as Markdown for the documentation."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tracking_operator.isolation.attempts import Area, Row, Verdict

HEADS: Final = ("attempt", "by whom", "against what", "expected", "seen")
LONGEST_CELL: Final = 96
HASH: Final = re.compile(r"\b[0-9a-f]{8,}\b|_[0-9a-f]{8,16}\b")
SIGNS: Final = {True: "as expected", False: "OTHERWISE"}


def as_markdown(rows: Sequence[Row], names: Mapping[str, str]) -> str:
    """A table for each area; ``names`` are put in the place of what differs from run to run."""
    parts = []
    for area in dict.fromkeys(row.attempt.area for row in rows):
        cells = [_cells(row, names) for row in rows if row.attempt.area is area]
        lines = [
            " | ".join(_escaped(cell) for cell in line) for line in (HEADS, ["---"] * len(HEADS), *cells)
        ]
        parts.append(
            f"### {str(area)[0].upper()}{str(area)[1:]}\n\n" + "\n".join(f"| {line} |" for line in lines)
        )
    return "\n\n".join(parts) + "\n"


def as_text(rows: Sequence[Row], names: Mapping[str, str]) -> str:
    """One table in columns; rows that are otherwise are marked."""
    lines = [(*HEADS, ""), *((*_cells(row, names), SIGNS[row.is_as_expected]) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    return "\n".join(
        "  ".join(
            (*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1])
        ).rstrip()
        for line in lines
    )


def summary(rows: Sequence[Row]) -> str:
    """How many attempts were made, and which ended otherwise."""
    wrong = [row for row in rows if not row.is_as_expected]
    left_out = sum(row.seen.verdict is Verdict.NOT_APPLICABLE for row in rows)
    said = f"{len(rows)} attempts, {left_out} of them not applicable to this class, {len(wrong)} otherwise than expected."
    return "\n".join([said, *(f"  {row.attempt.id}: {_seen(row)}" for row in wrong)])


def _cells(row: Row, names: Mapping[str, str]) -> tuple[str, ...]:
    attempt = row.attempt
    found = (
        f"{attempt.id.partition('/')[2]}: {attempt.tried}",
        attempt.by,
        attempt.against,
        attempt.expected,
    )
    return (*found, _shortened(_replaced(_seen(row), names)))


def _seen(row: Row) -> str:
    return f"{row.seen.verdict}: {row.seen.words}" if row.seen.words else str(row.seen.verdict)


def _replaced(words: str, names: Mapping[str, str]) -> str:
    for name, stand_in in sorted(names.items(), key=lambda pair: -len(pair[0])):
        words = words.replace(name, stand_in) if name else words
    return HASH.sub("…", words)


def _shortened(words: str) -> str:
    return words if len(words) <= LONGEST_CELL else f"{words[: LONGEST_CELL - 1]}…"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("<", "&lt;")


def ordered(rows: Iterable[Row]) -> list[Row]:
    """The rows by area, in the order in which attempts are declared."""
    order = list(Area)
    return sorted(rows, key=lambda row: order.index(row.attempt.area))
