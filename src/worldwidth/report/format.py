"""Numbers as the report shows them, and rows of tables that may be empty."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

NOT_MEASURABLE = "n.m."
MINUS, TIMES, DASH = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def records(table: pd.DataFrame, **where: object) -> list[dict[str, Any]]:
    """The rows whose columns have the values ``where``; none of an empty table, which has no columns."""
    for column, value in where.items():
        if column not in table:
            return []
        table = table[table[column] == value]
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


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


def interval(row: dict[str, Any], digits: int = 3) -> str:
    """``[low, high]``; empty where the seeds allow no interval."""
    if not (is_number(row["low"]) and is_number(row["high"])):
        return ""
    return f"[{number(row['low'], digits)}, {number(row['high'], digits)}]"


def line_note(row: dict[str, Any], digits: int) -> str:
    """``lines ±0.01``, what test lines add to the uncertainty; empty where that is not known."""
    error = row.get("line_se")
    return f"lines ±{number(error, digits)}" if is_number(error) else ""


def p_value(value: Any) -> str:
    """Three decimals; a dash where no test could be made."""
    if not is_number(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}"


def times(ratio: float) -> str:
    """A ratio with three significant digits."""
    return (f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}") + TIMES


def flops(value: float) -> str:
    """FLOPs with a decimal prefix: ``8.66 TFLOP``."""
    power = 0
    while value >= 999.5 and power < len(_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{f'{value:#.3g}'.rstrip('.')} {_PREFIXES[power]}FLOP"


def listed(parts: Iterable[str], last: str = "and") -> str:
    """``a, b and c``."""
    words = list(parts)
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(n: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def in_prose(label: str) -> str:
    """A metric's label for a list in a sentence: ``pairs - expected, trained`` has a comma of its own."""
    head, comma, rest = label.replace(" - ", f" {MINUS} ").partition(", ")
    return f"{head} ({rest})" if comma else head
