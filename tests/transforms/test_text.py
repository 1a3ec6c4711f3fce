"""Text that fits and does no harm, whatever is in it."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import text
from transforms.text import fit, pad, printable, width

ANY = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates too
ACUTE, BIDI = "\u0301", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


def test_the_examples_hold():
    assert doctest.testmod(text) == (0, 5)


@pytest.mark.parametrize(
    "letter", ["\x00", "\x1b", "\x07", "\r", "\n", "\t", "\x7f", "\x9b", "\udcff", "\ufeff", *BIDI]
)
def test_what_moves_a_cursor_or_turns_the_direction_is_named(letter):
    assert printable(f"a{letter}b") == f"a⟨{ord(letter):02X}⟩b"


@pytest.mark.parametrize("harmless", ["naïve 猫", "cafe" + ACUTE, "שלום", "🐈", "⟨0A⟩", ""])
def test_what_does_no_harm_stays(harmless):
    assert printable(harmless) == harmless


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u3000"])
def test_every_space_is_a_plain_one(space):
    assert printable(f"a{space}b") == "a b"


@pytest.mark.parametrize(
    ("found", "columns"),
    [
        ("abc", 3),
        ("猫犬", 4),
        ("ｆｕｌｌ", 8),
        ("e" + ACUTE, 1),
        ("e" + 40 * ACUTE, 1),
        ("שלום", 4),
        ("🐈", 2),
        ("", 0),
    ],
)
def test_widths_are_those_of_a_terminal(found, columns):
    assert width(found) == columns


def test_a_wide_letter_is_not_halved():
    assert fit("猫猫猫", 5) == "…猫猫"
    assert fit("猫猫猫", 4) == "…猫"
    assert pad("猫猫猫", 4) == "…猫 "
    assert fit("猫猫猫", 4, start=1) == "…猫"
    assert fit("猫猫猫猫", 6, start=3) == "猫…猫"


def test_a_mark_stays_with_its_letter():
    accented = "e" + ACUTE
    assert fit(accented * 5, 3) == "…" + accented * 2
    assert fit("ab" + accented, 1) == "…"
    assert fit(accented * 5, 3, start=1) == accented + "…" + accented
    assert fit("e" + 40 * ACUTE, 1) == "e" + 40 * ACUTE


@given(ANY, st.integers(1, 30), st.integers(0, 40))
def test_it_fits_and_tells_texts_apart_by_their_ends(found, columns, start):
    fitting = fit(found, columns, start)
    assert fitting.isprintable() and width(fitting) <= columns
    clean = printable(found)
    if width(clean) <= columns:
        assert fitting == clean
    else:
        head, _, tail = fitting.partition("…") if "…" not in clean else ("", "", "")
        assert clean.startswith(head) and clean.endswith(tail)
    assert width(pad(found, columns)) == columns
