"""What is known of a model's map: a row a probe."""

from dataclasses import asdict, dataclass

import pandas as pd

FOLDS, SHUFFLES = 8, 20
"""Parts of the ordinary cities that are held out in turn, and draws of shuffled coordinates."""
ALL = "all"
"""The prompt of all tasks: the mean of their features."""
_DIGITS = "%.5g"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One probe. Errors are distances in units of the plane, means over cities where nothing else is said."""

    model: str
    step: int
    """Steps of training behind it."""
    prompt: str
    """Of which task; ``all`` is the mean over tasks."""
    layer: int
    """After how many layers; 0 is the embedding."""
    cities: int
    r2: float
    null_r2: float
    """Mean over shuffles; ``null_low`` to ``null_high`` hold 95 % of them."""
    null_low: float
    null_high: float
    region_r2: float | None
    """The same with whole regions held out; ``region_null_r2`` is its mean over shuffles."""
    region_null_r2: float | None
    error: float
    """Of ordinary cities, held out."""
    median_error: float
    guess_error: float
    """Of the mean of the other ordinary cities."""
    atlantis_error: float
    """Of the cities of Atlantis, by a probe of all ordinary cities."""
    atlantis_median_error: float
    atlantis_guess_error: float
    """Of the mean of all ordinary cities."""
    atlantis_share: float
    """``atlantis_error`` over that: 0 is found, 1 is no better than the mean."""
    plane: float
    """Share of the features' variance in their first two principal components."""


def map_layer(layers: int) -> int:
    """The layer whose map is shown where one has to do: the last but one, of a model with one layer that one."""
    return max(1, layers - 1)


def table_of(rows: list[Row]) -> pd.DataFrame:
    """The rows as a table; numbers with five digits."""
    table = pd.DataFrame([asdict(row) for row in rows])
    numbers = table.select_dtypes("number").columns.difference(["step", "layer", "cities"])
    return table.assign(**{name: table[name].map(_short) for name in numbers})


def _short(value: float) -> float:
    return float(_DIGITS % value)
