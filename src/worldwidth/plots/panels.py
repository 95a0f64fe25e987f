"""What the comparison's figures share: style, title and caption, and what a matrix looks like.

Texts and axes are in two colours, ``INK`` and ``FAINT``, which a page may replace in dark mode; nothing is white.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from worldwidth.comparison.statistics import CONFIDENCE
from worldwidth.plots.figures import FAINT, INK

PAGE = 17 / 2.54
"""Width of a figure in inches: that of a printed page's text, so that font sizes are the printed ones."""
BUDGETS = {"epochs": "each width's own epochs", "tokens": "equal tokens", "flops": "equal FLOPs"}
INTERVAL = f"{100 * CONFIDENCE:.0f} % interval"
_ON_LIGHT, _ON_DARK = "#010101", "#ffffff"  # on cells, which keep their colours in dark mode: not the ink
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 6,
    "axes.titlesize": 6.5,
    "axes.labelsize": 6.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.5,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "figure.dpi": 200,
}
_MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}
_CORNER: dict[str, Any] = {"ha": "right", "va": "top", "weight": "bold"}

Parameters = ParamSpec("Parameters")


def seeds_text(low: int, high: int) -> str:
    """3 seeds, 1 seed, 1 to 3 seeds."""
    return f"{low} to {high} seeds" if low < high else f"{high} seed{'s' if high > 1 else ''}"


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Draw in the style of these figures, whatever the caller's is."""

    @wraps(draw)
    def drawing(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with plt.style.context(["default", _STYLE]):
            return draw(*args, **kwargs)

    return drawing


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, its size in points; at least as wide as its title and caption need."""
    size = (max(width / 72, 0.6 * PAGE), height / 72)
    return Figure(size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03, wspace=0.0, hspace=0.0))


def frame(figure: Figure, title: str, caption: list[str]) -> None:
    """Write the title above and the caption below, from the left edge and wrapped to the figure's width."""
    width = 0.97 * 72 * figure.get_figwidth()
    heading, small = FontProperties(size=8, weight="bold"), FontProperties(size=6)
    figure.suptitle(_wrapped(title, width, heading), x=0.008, ha="left", fontproperties=heading)
    text = "\n".join(_wrapped(line, width, small) for line in caption if line)
    figure.supxlabel(text, x=0.008, ha="left", fontproperties=small, color=FAINT)


def _wrapped(text: str, width: float, font: FontProperties) -> str:
    """Lines as long as ``width`` points allow."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_to_path.get_text_width_height_descent(longer, font, ismath=False)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


# --- a matrix


@dataclass(frozen=True)
class Scale:
    """What the colours of cells mean."""

    colors: str
    low: float
    high: float
    label: str
    extend: str

    @property
    def mappable(self) -> ScalarMappable:
        """For a colour bar."""
        return ScalarMappable(Normalize(self.low, self.high), self.colors)

    def ink(self, value: float) -> str:
        """The colour of text on a cell."""
        red, green, blue, _ = self.mappable.to_rgba(np.array([value]))[0]
        return _ON_DARK if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else _ON_LIGHT


@dataclass(frozen=True)
class Shown:
    """What stands in a cell: a number with two decimals, and perhaps a smaller text and an outline."""

    value: float
    below: str = ""
    outlined: bool = False

    @property
    def text(self) -> str:
        """The number, 0 without a sign."""
        text = f"{self.value:.2f}"
        return "0.00" if text == "-0.00" else text


@dataclass(frozen=True)
class CellSize:
    """Size of cells and of the text in them and beside them, in points."""

    width: float
    height: float
    font: float
    beside: float

    @classmethod
    def fitting(cls, columns: int, aside: float, slimmest: float) -> "CellSize":
        """Cells that fill the page beside what stands ``aside``, but not below the ``slimmest`` that holds its text."""
        width = float(np.clip((72 * PAGE - aside) / columns, slimmest, 34))
        font = float(np.clip(width / 2.85, 4.8, 7))
        return cls(width, 2.95 * font, font, min(font + 0.6, 6.5))


def draw_cells(
    axes: Axes, rows: list[list[Shown | None]], trained: list[list[bool]], scale: Scale, size: CellSize
) -> None:
    """Cells with their text; T where the task was trained; hatched without a number."""
    squares, values = [], []
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            place, ink = Rectangle((column - 0.48, row - 0.48), 0.96, 0.96), INK
            if cell is None:
                place.set(facecolor="none", hatch="//////", edgecolor="#b5b5b5", linewidth=0)
                axes.add_patch(place)
            else:
                squares.append(place)
                values.append(cell.value)
                ink = scale.ink(cell.value)
                _write(axes, column, row, cell, ink, size)
            if trained[row][column]:
                axes.text(column + 0.42, row - 0.43, "T", color=ink, fontsize=0.72 * size.font, **_CORNER)
    colors = scale.mappable
    axes.add_collection(PatchCollection(squares, cmap=colors.cmap, norm=colors.norm, array=values, linewidth=0))
    axes.set(xlim=(-0.5, len(rows[0]) - 0.5), ylim=(len(rows) - 0.5, -0.5), xticks=[], yticks=[])
    axes.tick_params(length=0, labelcolor=INK, labelsize=size.beside, pad=2)
    axes.spines[:].set_visible(False)


def _write(axes: Axes, column: int, row: int, cell: Shown, ink: str, size: CellSize) -> None:
    y = row - 0.03 if cell.below else row + 0.08
    axes.text(column, y, cell.text, color=ink, fontsize=size.font, **_MIDDLE)
    if cell.below:
        axes.text(column, row + 0.29, cell.below, color=ink, fontsize=0.76 * size.font, **_MIDDLE)
    if cell.outlined:
        around: dict[str, Any] = {"facecolor": "none", "edgecolor": INK, "linewidth": 0.9, "zorder": 2}
        axes.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, **around))


def color_bar(figure: Figure, axes: list[Axes], scale: Scale, rows: int, size: CellSize) -> None:
    """One colour bar right of ``axes``, about as high as their ``rows`` and 6 points wide."""
    shape: dict[str, Any] = {"fraction": 10 / (72 * figure.get_figwidth()), "aspect": rows * size.height / 6}
    bar = figure.colorbar(scale.mappable, ax=axes, pad=0.01, extend=scale.extend, **shape)
    bar.outline.set_visible(False)
    bar.set_label(scale.label, fontsize=size.beside)
    bar.ax.tick_params(labelsize=size.beside - 0.5, length=1.5, width=0.5, color=FAINT, labelcolor=INK)
