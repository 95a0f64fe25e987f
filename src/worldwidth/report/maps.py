"""The world as models have it, in the report: small maps as SVG, the land drawn once for all of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from markupsafe import Markup

from worldwidth.comparison.representations import first_runs, shown_models
from worldwidth.comparison.tables import Comparison
from worldwidth.core.text import number
from worldwidth.data.land import land
from worldwidth.data.regions import ATLANTIS
from worldwidth.plots.maps import LIMITS

_STEP = 3
"""Degrees of a square of land."""


@dataclass(frozen=True)
class WorldMap:
    """A map and what is said about it."""

    title: str
    note: str
    svg: Markup


def land_symbol() -> Markup:
    """All land as rows of squares, a ``<symbol>`` that every map uses."""
    squares = sorted({(int(y // _STEP), int(x // _STEP)) for x, y in np.unique(np.round(land(1)), axis=0)})
    parts = []
    for y, of_row in groupby(squares, key=lambda square: square[0]):
        columns = [x for _, x in of_row]
        start = columns[0]
        for x, after in zip(columns, [*columns[1:], None], strict=True):
            if after != x + 1:
                parts.append(f"M{_STEP * start} {-_STEP * y - 1}h{_STEP * (x + 1 - start)}")
                start = after if after is not None else start
    return Markup('<path id="land" d="{}"/>').format(Markup("".join(parts)))


def maps_of(comparison: Comparison, arm: str, table: pd.DataFrame, places: pd.DataFrame) -> Iterator[WorldMap]:
    """The maps of an arm, of the first run of every level: model by model, level by level."""
    if not len(table) or not len(places):
        return
    rows = first_runs(table[table["arm"] == arm])
    units = comparison.settings.selected.world.units_per_degree
    for model, what in shown_models(comparison.settings, table).items():
        for level in comparison.levels(arm):
            own = places[(places["arm"] == arm) & (places["level"] == level) & (places["model"] == model)]
            known = rows[(rows["level"] == level) & (rows["model"] == model)]
            if len(own) and len(known):
                of = known.iloc[0]
                note = f"R² {number(of['r2'], 2)}; Atlantis off by {of['atlantis_error']:.0f}"
                yield WorldMap(f"{level}: {what}", note, _map(own, units, f"{level}, {what}: {note}"))


def _map(places: pd.DataFrame, units: int, label: str) -> Markup:
    degrees = places[["x", "y", "seen_x", "seen_y"]].astype(float) / units
    (left, bottom), (right, top) = LIMITS
    is_new = places["region"] == ATLANTIS
    lines = "".join(f"M{x:.0f} {-y:.0f}L{u:.0f} {-v:.0f}" for x, y, u, v in degrees.itertuples(index=False))
    form = (
        '<svg class="map" role="img" aria-label="{}" viewBox="{} {} {} {}"><use href="#land"/>'
        '<path class="off" d="{}"/><path class="city" d="{}"/><path class="new" d="{}"/></svg>'
    )
    box = left, -top, right - left, top - bottom
    return Markup(form).format(label, *box, Markup(lines), _points(degrees[~is_new]), _points(degrees[is_new]))


def _points(places: pd.DataFrame) -> Markup:
    return Markup("".join(f"M{u:.0f} {-v:.0f}h0" for u, v in zip(places["seen_x"], places["seen_y"], strict=True)))
