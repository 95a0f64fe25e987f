"""The figures of a comparison's representations: the maps of all levels, and how alike models are."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from worldwidth.comparison.axes import in_file_name
from worldwidth.comparison.representations import (
    LEVELS,
    REPLICATES,
    WITHIN,
    MapTables,
    first_runs,
    map_of,
    shown_models,
)
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import listed, number
from worldwidth.plots.heatmap import Mark, Scale, draw_panels, task_label
from worldwidth.plots.heatmap import Panel as Cells
from worldwidth.plots.maps import Panel, draw_maps
from worldwidth.plots.printed import save_printed
from worldwidth.plots.probes import layer_note, null_note
from worldwidth.plots.style import STYLE, frame
from worldwidth.representation.similarity import NEIGHBOURS, PERMUTATIONS
from worldwidth.settings.schema import Settings

_ALIKE = Scale("YlGnBu", 0.0, 1.0, "similarity, calibrated")
_ABREAST = 4
"""Maps that a page is wide enough for, with what is said above each."""
_MEASURES = {"cka_score": "linear CKA", "neighbours_score": f"{NEIGHBOURS} nearest neighbours"}


def draw_representation_figures(comparison: Comparison, maps: MapTables, folder: Path) -> list[Path]:
    """Write maps and similarities of every arm into ``folder``; remove those of an earlier comparison."""
    table, similarity = maps.representations, maps.similarity
    drawn: dict[str, Callable[[], Figure]] = {}
    for arm in table["arm"].unique() if len(table) else ():
        drawn[f"maps-{in_file_name(arm)}"] = partial(draw_level_maps, comparison, arm, table, maps.places)
        if records(similarity, arm=arm):
            drawn[f"similarity-{in_file_name(arm)}"] = partial(draw_similarity, comparison, arm, similarity)
    return save_printed(drawn, folder, ("maps-*", "similarity-*"))


def draw_level_maps(comparison: Comparison, arm: str, table: pd.DataFrame, places: pd.DataFrame) -> Figure:
    """Levels as columns: the base model's map, the giver's, and that of the model of distance, of the first run."""
    of_arm = table[table["arm"] == arm]
    rows = first_runs(of_arm)
    levels = [level for level in comparison.levels(arm) if (rows["level"] == level).any()]
    models = shown_models(comparison.settings, table)
    known = places[places["arm"] == arm] if len(places) else places
    bands = range(-(-len(levels) // _ABREAST))
    n = -(-len(levels) // len(bands))
    grid = [
        [_panel(rows, known, level, model, what) for level in levels[n * band : n * band + n]]
        for band in bands
        for model, what in models.items()
    ]
    units = comparison.settings.selected.world.units_per_degree
    title = f"The world as models have it, by {comparison.axis.noun}  ({comparison.words(arm)})"
    seed = f"Of each {comparison.axis.noun} the run with the lowest seed."
    return draw_maps(grid, units, title, [f"{null_note(rows)} {seed}", _layers(rows)])


def _layers(rows: pd.DataFrame) -> str:
    """Which features the maps are of; models may have other numbers of layers."""
    layers = rows.drop_duplicates("level").groupby("layer", sort=False)["level"].agg(list)
    if len(layers) == 1:
        return layer_note(rows)
    each = "; ".join(f"{layer} in {listed(levels)}" for layer, levels in layers.items())
    return f"Features: the mean over the prompts of all tasks, after the last layer but one or the only one: {each}."


def _panel(rows: pd.DataFrame, places: pd.DataFrame, level: str, model: str, what: str) -> Panel:
    found = records(rows, level=level, model=model)
    if not found:
        return Panel(f"{level}: {what}\nno map\n", None)
    row = found[0]
    numbers = f"R² {number(row['r2'], 2)}, error {row['error']:.0f}\nAtlantis: error {row['atlantis_error']:.0f}"
    own = places[(places["level"] == level) & (places["model"] == model)] if len(places) else places
    return Panel(f"{level}: {what}\n{numbers}", map_of(own, int(row["layer"])) if len(own) else None)


@plt.style.context(STYLE)
def draw_similarity(comparison: Comparison, arm: str, similarity: pd.DataFrame) -> Figure:
    """Above, base models of two levels, on the diagonal of two seeds; below, each fine-tuned model and its base."""
    table = similarity[similarity["arm"] == arm]
    levels = [level for level in comparison.levels(arm) if (table["level"] == level).any()]
    models = [model for model in comparison.settings.finetunes if (table["other_model"] == model).any()]
    grid = []
    if table["kind"].isin([LEVELS, REPLICATES]).any():
        grid.append([_between(table, levels, column, title) for column, title in _MEASURES.items()])
    if models:
        of_models = [_within(comparison.settings, table, levels, models, column) for column in _MEASURES]
        grid.append(of_models)
    caption = [
        "Above: base models of two levels, means over seeds; on the diagonal of two seeds of one level. Below: each "
        "fine-tuned model and the base model that it comes from. The same ordinary cities, features of the maps.",
        f"0: no more alike than 95 % of {PERMUTATIONS} pairings of shuffled cities; 1: equal. Hatched: no such pair.",
    ]
    figure = draw_panels(grid)
    frame(figure, f"How alike models see cities, by {comparison.axis.noun}  ({comparison.words(arm)})", caption)
    return figure


def _between(table: pd.DataFrame, levels: list[str], column: str, title: str) -> Cells:
    def mark(one: str, other: str) -> Mark:
        kind = REPLICATES if one == other else LEVELS
        places = ((table["level"] == one) & (table["other_level"] == other)) | (
            (table["level"] == other) & (table["other_level"] == one)
        )
        return _mean(table[(table["kind"] == kind) & places][column])

    marks = tuple(tuple(mark(one, other) for other in levels) for one in levels)
    return Cells(tuple(levels), tuple(levels), marks, _ALIKE, title=title)


def _within(settings: Settings, table: pd.DataFrame, levels: list[str], models: list[str], column: str) -> Cells:
    own = table[table["kind"] == WITHIN]

    def mark(model: str, level: str) -> Mark:
        return _mean(own[(own["other_model"] == model) & (own["level"] == level)][column])

    marks = tuple(tuple(mark(model, level) for level in levels) for model in models)
    return Cells(tuple(task_label(settings.finetunes[model]) for model in models), tuple(levels), marks, _ALIKE)


def _mean(values: "pd.Series[float]") -> Mark:
    return Mark(float(values.mean()), below=f"n={len(values)}" if len(values) > 1 else "") if len(values) else Mark()
