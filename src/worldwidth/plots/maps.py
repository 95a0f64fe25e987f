"""The world as models have it: every city where a probe reads it, behind it where it lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from worldwidth.core.text import number
from worldwidth.data.land import land
from worldwidth.data.regions import REGIONS
from worldwidth.plots.style import FAINT, HATCH, INK, PAGE, STYLE, frame, new_figure
from worldwidth.representation.rows import FOLDS
from worldwidth.representation.tables import Map

LIMITS = (np.array([-180, -62]), np.array([180, 80]))
"""Corners of a panel, in degrees: where people live and some sea around."""
_SHAPE = 142 / 360
_LAND = "#cccccc"
_LEGEND = 100
"""Points of the page's width that the legend takes."""
_PALETTE = matplotlib.colormaps["tab20"].resampled(20)
_COLOR_OF = {region: _PALETTE(i) for i, region in enumerate((*REGIONS, "Other"))}
_MAP_TEXT = (
    "Each city is drawn where a ridge probe of the residual stream reads it that was not fitted on it: ordinary cities "
    f"by a probe of the others ({FOLDS} folds), Atlantis by one of all ordinary cities; a line leads to where it lies. "
    "Grey: all cities of GeoNames."
)


@dataclass(frozen=True)
class Panel:
    """One map."""

    title: str
    """One line or two."""
    map: Map | None
    """None: there is none."""


def map_note(row: Mapping[Any, Any]) -> str:
    """What a row of the table of probes says of a map, in two lines."""
    return (
        f"ordinary cities: R² {number(row['r2'], 2)}, error {row['error']:.0f} (mean city: {row['guess_error']:.0f})\n"
        f"Atlantis: error {row['atlantis_error']:.0f} (mean city: {row['atlantis_guess_error']:.0f})"
    )


@plt.style.context(STYLE)
def draw_maps(grid: Sequence[Sequence[Panel]], units: int, title: str, caption: Sequence[str]) -> Figure:
    """Panels in rows, of which the last ones may be shorter, one scale for both axes, the regions' colours beside them.

    Args:
        units: of the plane, in a degree.
        caption: what stands below, before what every map is.
    """
    rows, columns = len(grid), len(grid[0])
    width = (PAGE - _LEGEND) / columns
    figure = new_figure(PAGE, rows * (width * _SHAPE + 12 + 9 * max(panel.title.count("\n") for panel in grid[0])))
    behind = land(units)
    axes = figure.subplots(rows, columns, squeeze=False)
    for panels, of_row in zip(grid, axes, strict=True):
        for place in of_row[len(panels) :]:
            place.remove()
        for panel, place in zip(panels, of_row, strict=False):
            _draw_map(place, panel, behind, units, width)
    regions = {region for row in grid for panel in row if panel.map for region in panel.map.regions}
    handles = [_dot(_COLOR_OF[region], region) for region in _COLOR_OF if region in regions]
    handles += [Line2D([], [], ls="", marker="*", ms=5, color=INK, mew=0, label="Atlantis, as read")]
    handles += [Line2D([], [], ls="", marker="*", ms=5, mfc="none", mec=FAINT, mew=0.5, label="Atlantis, as it lies")]
    figure.legend(handles=handles, loc="outside right center", handletextpad=0.1)
    frame(figure, title, [*caption, _MAP_TEXT])
    return figure


def _dot(color: Any, label: str) -> Line2D:
    return Line2D([], [], ls="", marker="o", ms=3.5, color=color, mew=0, label=label)


def _draw_map(axes: Axes, panel: Panel, behind: NDArray[Any], units: int, width: float) -> None:
    """One panel, ``width`` points wide."""
    low, high = (units * corner for corner in LIMITS)
    axes.set_title(panel.title, linespacing=1.25)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set(color=HATCH, linewidth=0.4)
    axes.plot(
        behind[:, 0], behind[:, 1], ",", color=_LAND, alpha=min(1, width / 250), zorder=0, rasterized=True
    )  # pixels lie closer in a small map; in a vector file they would be a hundred thousand shapes
    if panel.map is None:
        axes.text(0.5, 0.5, "no map", ha="center", va="center", transform=axes.transAxes)
        return
    known, size = panel.map, width / 150
    seen, new = (places[known.shown] for places in (known.ordinary_seen, known.atlantis_seen))
    colors = [_COLOR_OF.get(region, _COLOR_OF["Other"]) for region in known.regions]
    _lines(axes, seen, known.ordinary, 0.1 * size)
    _lines(axes, new, known.atlantis, 0.1 * size)
    hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": FAINT, "linewidths": 0.2 * size}
    for (x, y), area, style in (
        (known.ordinary.T, 0.8, {"color": FAINT, "alpha": 0.5, "linewidths": 0}),
        (known.atlantis.T, 4, {"marker": "*", **hollow}),
        (seen.T, 3, {"color": colors, "linewidths": 0, "zorder": 3}),
        (new.T, 6, {"marker": "*", "color": INK, "linewidths": 0, "zorder": 4}),
    ):
        axes.scatter(x, y, s=area * size**2, **style)
    drawn = np.concatenate([seen, new])
    outside = int(((drawn < low) | (drawn > high)).any(axis=1).sum())
    if outside:
        axes.text(0.99, 0.02, f"{outside} outside", ha="right", va="bottom", color=FAINT, transform=axes.transAxes)


def _lines(axes: Axes, seen: NDArray[Any], places: NDArray[Any], width: float) -> None:
    """From where each city is read to where it lies."""
    x, y = np.stack([seen, places, np.full_like(places, np.nan)], axis=1).reshape(-1, 2).T
    axes.plot(x, y, color=FAINT, alpha=0.35, linewidth=width, zorder=1)
