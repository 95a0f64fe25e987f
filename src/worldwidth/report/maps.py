"""The world as models have it, in the report: small maps as SVG, the land drawn once for all of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from worldwidth.comparison.representations import MapTables, first_runs, shown_models
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
    notes: tuple[str, ...] = ()
    """Of its states, where it has several: the checkpoints of pre-training, and the finished model."""


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


def maps_of(comparison: Comparison, arm: str, maps: MapTables) -> Iterator[WorldMap]:
    """The maps of an arm, of the first run of every level: model by model, level by level."""
    table, places = maps.representations, maps.places
    if not len(table) or not len(places):
        return
    rows = first_runs(table[table["arm"] == arm])
    units = comparison.settings.selected.world.units_per_degree
    for model, what in shown_models(comparison.settings, table).items():
        for level in comparison.levels(arm):
            own = places[(places["arm"] == arm) & (places["level"] == level) & (places["model"] == model)]
            known = rows[(rows["level"] == level) & (rows["model"] == model)]
            if len(own) and len(known):
                note = _note(known.iloc[0])
                early = _early(maps.checkpoints, arm, level) if model == "base" else []
                notes = [f"step {int(rows.iloc[0]['step']):,}: {_note(rows.iloc[0])}" for rows in early]
                last = f"step {int(known.iloc[0]['step']):,}: {note}"
                svg = _map([*early, own], units, f"{level}, {what}: {note}")
                yield WorldMap(f"{level}: {what}", note, svg, (*notes, last) if notes else ())


def _note(of: "pd.Series[Any]") -> str:
    return f"R² {number(of['r2'], 2)}; Atlantis off by {of['atlantis_error']:.0f}"


def _early(checkpoints: pd.DataFrame, arm: str, level: str) -> list[pd.DataFrame]:
    """The rows of each checkpoint of the base model of a level, in the order of its training."""
    if not len(checkpoints):
        return []
    own = checkpoints[(checkpoints["arm"] == arm) & (checkpoints["level"] == level)]
    return [rows for _, rows in own.groupby("step")]


def _map(states: list[pd.DataFrame], units: int, label: str) -> Markup:
    """A map whose last state is seen; the others, smaller for the lack of lines, are there for a script."""
    (left, bottom), (right, top) = LIMITS
    form = '<svg class="map" role="img" aria-label="{}" viewBox="{} {} {} {}"><use href="#land"/>{}{}</svg>'
    early = Markup("").join(Markup('<g class="early">{}</g>').format(_state(rows, units)) for rows in states[:-1])
    last = Markup("<g>{}{}</g>").format(_lines(states[-1], units), _state(states[-1], units))
    return Markup(form).format(label, left, -top, right - left, top - bottom, early, last)


def _degrees(places: pd.DataFrame, units: int) -> pd.DataFrame:
    return places[["x", "y", "seen_x", "seen_y"]].astype(float) / units


def _lines(places: pd.DataFrame, units: int) -> Markup:
    of_cities = _degrees(places, units).itertuples(index=False)
    return Markup('<path class="off" d="{}"/>').format(
        Markup("".join(f"M{x:.0f} {-y:.0f}L{u:.0f} {-v:.0f}" for x, y, u, v in of_cities))
    )


def _state(places: pd.DataFrame, units: int) -> Markup:
    degrees, is_new = _degrees(places, units), places["region"] == ATLANTIS
    paths = Markup('<path class="city" d="{}"/><path class="new" d="{}"/>')
    return paths.format(_points(degrees[~is_new]), _points(degrees[is_new]))


def _points(places: pd.DataFrame) -> Markup:
    return Markup("".join(f"M{u:.0f} {-v:.0f}h0" for u, v in zip(places["seen_x"], places["seen_y"], strict=True)))
