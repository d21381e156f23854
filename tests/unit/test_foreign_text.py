"""What others said is fit to be quoted, whatever they said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.foreign_text import one_line, printable, quotable, shortened


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("as it is: ä, 数, 🙂\nnext", "as it is: ä, 数, 🙂\nnext"),
        ("\x1b[2Jgone", " [2Jgone"),
        ("user \u202egnp.exe", "user  gnp.exe"),
        ("\u2066left\u2069", " left "),
        ("zero\u200bwidth", "zero width"),
        ("tab\tnull\0", "tab null "),
        ("lone \ud800", "lone  "),
    ],
)
def test_what_moves_the_cursor_or_turns_a_sentence_round_is_a_blank(said: str, shown: str) -> None:
    assert printable(said) == shown


def test_one_line() -> None:
    assert one_line("  a\n\tb\u2028c\u202e  ", 10) == "a b c"


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("short", 5, "short"),
        ("one two three", 10, "one two…"),
        ("x" * 20, 10, "x" * 9 + "…"),
        ("a " + "x" * 300, 250, "a " + "x" * 247 + "…"),
    ],
)
def test_long_text_ends_after_a_word(text: str, limit: int, short: str) -> None:
    assert shortened(text, limit) == short


@given(st.text(max_size=300), st.integers(1, 50))
def test_a_quotation_is_printable_short_and_the_same_when_quoted_again(text: str, limit: int) -> None:
    quoted = quotable(text, limit)
    assert len(quoted) <= limit
    assert quoted.replace("\n", "").isprintable()
    assert quotable(quoted, limit) == quoted
