"""From one rate for all weights, over slow bodies, to new embeddings alone: what fine-tuning gives, an arch a line."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldwidth.comparison.axes import ARCH
from worldwidth.comparison.statistics import INTERVAL
from worldwidth.comparison.tables import Comparison
from worldwidth.core.text import listed, seeds
from worldwidth.plots.lines import beyond, limits_of
from worldwidth.plots.style import PAGE, STYLE, arch_looks, frame, new_figure, plain
from worldwidth.settings.schema import DEFAULT

RATIO = "finetuning.body_ratio"
NEW_ROWS = "new rows"
_PLACES = {"published": 0, DEFAULT: 2}
"""Where recipes stand among those of one ratio; all others between the two."""
_PANELS = {
    "ftwb1_trained": "plug1_trained",
    "ftwb1_transfer_minus_control": "plug1_transfer",
    "retention_other": None,
}
"""Metric -> that of the plug-ins, which have no control and forget nothing."""


def has_ratios(comparison: Comparison) -> bool:
    """Whether archs are compared at several ratios of the body's rate."""
    return comparison.axis.key == ARCH and comparison.runs.get(RATIO, pd.Series()).nunique() > 1


@plt.style.context(STYLE)
def draw_ratios(comparison: Comparison) -> Figure:
    """Three metrics over the ratio of the body's rate to the embedding's, fastest body first; plug-ins at the end."""
    table = ratio_table(comparison)
    names = [name for name in _PANELS if name in comparison.metrics]
    places = list(dict.fromkeys(table["place"]))
    looks = arch_looks(comparison.settings)
    archs = [arch for arch in comparison.archs if 2 * len(_places_of(table, arch)) >= len(places)]
    left_out = [arch for arch in comparison.archs if arch not in archs]
    table = table[table["level"].isin(archs)]
    figure = new_figure(PAGE, 190)
    for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        own = table[table["metric"] == name]
        for number, arch in enumerate(archs):
            aside = 0.1 * (number - (len(archs) - 1) / 2)  # so that bars do not hide each other
            _draw_line(axes, own[own["level"] == arch], places, aside, {**looks[arch].dots, "label": arch})
        axes.set_xticks(range(len(places)), places, rotation=90)
        axes.set_title(comparison.metrics[name].label, fontweight="bold")
        axes.set_ylim(limits_of(own["mean"], own))
        plain(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    title = f"Fast and slow bodies: rate of all other weights over the embedding's  (scale {comparison.settings.scale})"
    frame(figure, title, _caption(table, left_out))
    return figure


def ratio_table(comparison: Comparison) -> pd.DataFrame:
    """One row a metric, level and place on the axis, in its order: mean, low, high and n."""
    columns = ["arm", RATIO, *(["recipe"] if "recipe" in comparison.runs else [])]
    arms = comparison.runs[columns].drop_duplicates()
    recipes = arms.get("recipe", pd.Series(DEFAULT, index=arms.index))
    arms = arms.assign(recipe=recipes, place=recipes.map(lambda name: _PLACES.get(name, 1)))
    arms = arms.sort_values([RATIO, "place"], ascending=[False, True], kind="stable")
    parts: list[pd.DataFrame] = []
    for row in arms.to_dict("records"):
        place = f"{row[RATIO]:g}" + ("" if row["recipe"] == DEFAULT else f", {row['recipe']}")
        own = comparison.means[(comparison.means["arm"] == row["arm"]) & comparison.means["metric"].isin(_PANELS)]
        parts.append(own.assign(place=place))
    for metric, plugged in _PANELS.items():
        own = comparison.means[comparison.means["metric"] == plugged].drop_duplicates("level")
        parts.append(own.assign(place=NEW_ROWS, metric=metric))
    return pd.concat(parts, ignore_index=True).astype({"mean": float, "low": float, "high": float})


def _places_of(table: pd.DataFrame, arch: str) -> list[str]:
    return list(table[table["level"] == arch]["place"].unique())


def _draw_line(axes: Axes, rows: pd.DataFrame, places: list[str], aside: float, style: dict[str, Any]) -> None:
    rows = rows.set_index("place").reindex(places)  # the line breaks where nothing was run
    bars = np.array([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
    shape: dict[str, Any] = {"ms": 3.5, "mec": "none", "lw": 0.8, "elinewidth": 0.8, "capsize": 1.5, "capthick": 0.8}
    axes.errorbar(np.arange(len(places)) + aside, rows["mean"], bars, **shape, **style)


def _caption(table: pd.DataFrame, left_out: list[str]) -> list[str]:
    bars = f"bars: {INTERVAL} (Student's t)" if table["low"].notna().any() else "an interval needs two seeds or more"
    return [
        f"Single-task models; means over {seeds(table['n'])}; {bars}. Named: recipes with other rates.",
        beyond(table),
        f"Not drawn, for there are few ratios of them: {listed(left_out)}." if left_out else "",
        "New rows: plug-ins, which move the new embeddings alone; they have no warm-up lines, so that nothing is taken "
        "off their transfer, and forget nothing.",
        "Scores: normalised improvement on Atlantis; retention: 1 as before fine-tuning on ordinary cities.",
    ]
