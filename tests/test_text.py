"""Numbers as text, and text of others: `pytest tests/test_text.py`."""

import math
from pathlib import Path

import pytest

from worldwidth.core.markdown import fitted, print_markdown
from worldwidth.core.text import (
    DASH,
    in_csv,
    in_markdown,
    interval,
    listed,
    number,
    p_value,
    plural,
    plus_minus,
    printable,
    seeds,
    short,
    times,
)

TIMES = "\N{MULTIPLICATION SIGN}"


def test_numbers() -> None:
    assert [number(x) for x in (-0.0004, -0.25, None, math.nan)] == ["0.000", "\N{MINUS SIGN}0.250", "n.m.", "n.m."]
    assert [number(0.25, 2, sign=True), number(0.001, 2, sign=True)] == ["+0.25", "0.00"]
    assert [p_value(x) for x in (0.00001, 0.0437, None)] == ["< 0.001", "0.044", "\N{EN DASH}"]
    assert [times(2 * x, 2) for x in (1.0, 1.956, 15.51, 1234.4)] == [x + TIMES for x in ("1", "1.96", "15.5", "1,234")]
    assert times(3, 0) == times(0, 0) == DASH


def test_intervals() -> None:
    assert interval(-0.1, 0.2, 2) == "[\N{MINUS SIGN}0.10, 0.20]"
    assert interval(None, math.nan) == ""
    assert plus_minus(0.5, 0.4, 0.6) == "0.50 ± 0.10"
    assert plus_minus(0.5, 0.4, 0.6, sign=True) == "+0.50 ± 0.10"
    assert plus_minus(0.5, None, None) == "0.50"
    assert plus_minus(math.nan, None, None) == "n.m."


def test_short_counts() -> None:
    assert [short(x) for x in (0, 512, 19_520, 999_600, 6.3e6)] == ["0", "512", "19.5 k", "1 M", "6.3 M"]
    assert [short(x, "FLOP") for x in (999.4, 8.656e12, 999.6e12)] == ["999 FLOP", "8.66 TFLOP", "1 PFLOP"]


def test_lists() -> None:
    assert [listed("abc"[:n]) for n in (0, 1, 2, 3)] == ["", "a", "a and b", "a, b and c"]
    assert [plural(1, "seed"), plural(1000, "seed")] == ["1 seed", "1,000 seeds"]
    assert [seeds([3, 3]), seeds([1]), seeds([1, 3])] == ["3 seeds", "1 seed", "1 to 3 seeds"]


def test_text_of_others_is_shown_and_does_nothing() -> None:
    """Ends of lines, escapes of a terminal in 7 and 8 bits, marks that turn the direction, half a character."""
    assert printable("a\n\r\x1b[2J\x9b2J\u2028\u202e\u2066\x00\udce9\ufeff") == (
        r"a\n\r\x1b[2J\x9b2J\u2028\u202e\u2066\x00\udce9\ufeff"
    )
    assert printable("São Paulo, 東京, <b>") == "São Paulo, 東京, <b>"
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert in_markdown("wide_2-epochs-s1") == "wide_2-epochs-s1"
    assert in_markdown("_a_|`b`*[x](y)<b>&amp;$1$\n") == r"\_a\_\|\`b\`\*\[x\](y)\<b\>\&amp;\$1\$\\n"
    assert [in_csv(text) for text in ("=1+1", "@a", "wide", "\t=1")] == ["'=1+1", "'@a", "wide", r"\t=1"]


TABLE = """A sentence of some length.

| arch   | ftwb1 | ftwb2 | base skill |
| ------ | ----- | ----- | ---------- |
| narrow | 0.50  | 0.64  | 0.85       |
"""


def test_a_table_that_is_too_wide_goes_on_below_itself() -> None:
    assert fitted(TABLE, 100) == TABLE
    assert fitted(TABLE, 26).splitlines() == [
        "A sentence of some length.",
        "",
        "| arch   | ftwb1 | ftwb2 |",
        "| ------ | ----- | ----- |",
        "| narrow | 0.50  | 0.64  |",
        "",
        "| arch   | base skill |",
        "| ------ | ---------- |",
        "| narrow | 0.85       |",
    ]
    assert fitted(TABLE, 10).splitlines()[:4] == ["A sentence", "of some", "length.", ""]


def test_the_committed_comparisons_fit_80_columns() -> None:
    """Nothing of them is lost."""
    for path in Path(__file__).parents[1].glob("results/comparison/*/comparison.md"):
        text = path.read_text(encoding="utf-8")
        shown = fitted(text, 80)
        assert max(map(len, shown.splitlines())) <= 80
        assert set(shown.split()) >= set(text.split()) - {"|"}


def test_a_pipe_gets_markdown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_markdown(TABLE)
    assert capsys.readouterr().out == f"{TABLE}\n"
