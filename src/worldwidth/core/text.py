"""Numbers as text, the same in tables, figures, the report and the terminal; and text of others, safe to show."""

import math
import re
import textwrap
from collections.abc import Iterable
from typing import Any

NOT_MEASURABLE = "n.m."
MINUS, TIMES, DASH = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
_MARKDOWN = re.compile(r"[\\`*\[\]<>|&$~#]|(?<!\w)_|_(?!\w)")  # inside a word _ means nothing
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def is_number(value: object) -> bool:
    """Whether there is a number: neither None nor NaN."""
    return isinstance(value, int | float) and math.isfinite(value)


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    """A score with fixed decimals, a true minus and no negative zero."""
    if not is_number(value):
        return NOT_MEASURABLE
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def score(value: Any) -> str:
    """A score in a cell: two decimals, and from 10 on, which is far off the scale, as many digits less."""
    return number(value, 2 if not is_number(value) or abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0)


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """``[low, high]``; empty where there is none."""
    return f"[{number(low, digits)}, {number(high, digits)}]" if is_number(low) and is_number(high) else ""


def plus_minus(mean: Any, low: Any, high: Any, digits: int = 2, sign: bool = False) -> str:
    """``0.80 ± 0.09``, or the mean alone where there is no interval; Student's interval is symmetric."""
    text = number(mean, digits, sign)
    return f"{text} ± {number((high - low) / 2, digits)}" if is_number(mean) and interval(low, high) else text


def p_value(value: Any) -> str:
    """Three decimals; a dash where no test could be made."""
    if not is_number(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}"


def short(value: float, unit: str = "") -> str:
    """Three significant digits and a decimal prefix: ``19.5 k``, ``8.66 TFLOP``."""
    power = 0
    while value >= 999.5 and power < len(_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {_PREFIXES[power]}{unit}".strip()


def times(cost: float, reference: float) -> str:
    """How many times ``reference`` a cost is, with three significant digits; a dash where that is 0."""
    if reference == 0:
        return DASH
    ratio = cost / reference
    return (f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}") + TIMES


def listed(parts: Iterable[str], last: str = "and") -> str:
    """``a, b and c``."""
    words = list(parts)
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(n: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def seeds(numbers: Iterable[int]) -> str:
    """``3 seeds``, ``1 to 3 seeds``."""
    low, high = min(found := list(numbers)), max(found)
    return f"{low} to {plural(high, 'seed')}" if low < high else plural(high, "seed")


def bytes_text(count: float) -> str:
    """Bytes in powers of 1000, three digits: ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.4g} TB"


def wrapped(text: str, indent: str = "", width: int = 80) -> list[str]:
    """Lines of at most ``width`` columns, those after the first with ``indent`` before them."""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def printable(text: str, keep: str = "") -> str:
    """Text for a terminal: what ends a line, steers the terminal or turns the direction, as its code (``\\x1b``).

    Args:
        keep: characters to be left as they are.
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def in_markdown(text: str) -> str:
    """:func:`printable`, and nothing in it is markup of Markdown or HTML."""
    return _MARKDOWN.sub(r"\\\g<0>", printable(text))


def in_csv(text: str) -> str:
    """:func:`printable`, and no formula to a spreadsheet."""
    return ("'" if text.startswith(("=", "+", "-", "@")) else "") + printable(text)
