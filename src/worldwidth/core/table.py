"""CSV tables, read strictly: the columns that somebody needs, each of its kind, and no row cut off."""

import io
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from worldwidth.core.errors import WorldwidthError

Kind = Literal["text", "number", "number or none", "count"]
"""What every field of a column is: ``count`` is a whole number of at least 1; none is an empty field."""

_WORDS = {
    "text": "text", "number": "a number", "number or none": "a number or nothing",
    "count": "a whole number of at least 1",
}  # fmt: skip


def parse_table(text: str, columns: Mapping[str, Kind], name: str) -> pd.DataFrame:
    """The table in ``text``; an empty field is NaN, no text is taken for a missing value.

    Args:
        columns: those that it must have; others are let through unlooked at.
        name: what the table is called in an error.

    Raises:
        WorldwidthError: it is no table, lacks a column, is cut off, or a field is of another kind.
    """
    try:
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
    except ValueError as error:
        raise WorldwidthError(f"{name}: no table ({error})") from None
    missing = [column for column in columns if column not in table]
    if missing:
        raise WorldwidthError(f"{name}: no column '{missing[0]}'; found: {', '.join(map(str, table.columns))}")
    if table.empty or not text.endswith("\n"):
        raise WorldwidthError(f"{name}: cut off, or empty")
    for column, kind in columns.items():
        wrong = ~_is_of(table[column], kind)
        if wrong.any():
            row = int(np.argmax(wrong))
            found = "an empty field" if pd.isna(table[column].iloc[row]) else repr(str(table[column].iloc[row]))
            raise WorldwidthError(f"{name}: row {row + 2}: {column}: found {found}; it must be {_WORDS[kind]}")
    return table


def _is_of(column: "pd.Series[Any]", kind: Kind) -> NDArray[np.bool_]:
    """Whether each field is of that kind."""
    is_none = column.isna().to_numpy(dtype=np.bool_)
    if kind == "text":
        return ~is_none
    numbers: NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    is_number: NDArray[np.bool_] = np.isfinite(numbers)
    if kind == "count":
        is_number &= (numbers >= 1) & (numbers == np.floor(numbers))
    return is_number | is_none if kind == "number or none" else is_number
