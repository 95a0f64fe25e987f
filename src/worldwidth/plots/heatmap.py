"""The one heat map of figures: panels of coloured cells with names, and colour bars."""

from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from worldwidth.comparison.labels import GAIN, IMPROVEMENT
from worldwidth.core.text import score
from worldwidth.evaluation.scores import DIFFERENCE, compared_with_specialists, matrix_names, matrix_of
from worldwidth.plots.style import FAINT, HATCH, INK, PAGE, SMALL, TEXT, Rgb, ink_on, new_figure, text_width
from worldwidth.settings.schema import Settings, is_plug_in

MARKS = "T: trained; hatched: not measurable or missing"
MEANING = "Normalised improvement on Atlantis: 0 as the base model there, 1 as it is on ordinary cities."
EXPECTED = "Gain: score minus expected, which is the better of its tasks' single-task models; blue: better than that."


@dataclass(frozen=True)
class Scale:
    """What the colours of cells mean. They end at ``low`` and ``high``; the numbers in the cells do not."""

    colors: str
    low: float
    high: float
    label: str

    def color(self, value: float) -> Rgb:
        """That of a cell."""
        share = (value - self.low) / (self.high - self.low)
        red, green, blue, _ = matplotlib.colormaps[self.colors](float(np.clip(share, 0, 1)))
        return float(red), float(green), float(blue)

    def shades(self, number: int) -> list[tuple[str, str]]:
        """Colours in hexadecimal, from ``low`` to ``high``, and the ink on each."""
        colors = [self.color(value) for value in np.linspace(self.low, self.high, number)]
        return [(to_hex(color), ink_on(color)) for color in colors]


SCORE = Scale("RdYlGn", 0.0, 1.0, IMPROVEMENT)
SIGNED = Scale("RdBu", -0.5, 0.5, GAIN)  # red is worse than expected, blue better


def score_scale(settings: Settings) -> Scale:
    """That of scores, in the colours of params.yaml."""
    return replace(SCORE, colors=settings.colours)


@dataclass(frozen=True)
class Mark:
    """What a cell shows."""

    value: float | None = None
    """None: hatched."""
    below: str = ""
    trained: bool = False
    outlined: bool = False

    @property
    def text(self) -> str:
        """The number."""
        return "" if self.value is None else score(self.value)


@dataclass(frozen=True)
class Panel:
    """One matrix."""

    rows: tuple[str, ...]
    """Labels, of one line or two."""
    columns: tuple[str, ...]
    marks: tuple[tuple[Mark, ...], ...]
    scale: Scale
    title: str = ""
    note: str = ""
    """Below the title."""
    corner: str = ""
    """Above the labels of the rows."""


Key = tuple[str, str]
"""(model, task)."""
_SLIMMEST = 2.2 * SMALL
"""Points that a number such as 0.43 takes."""
_ROOM = 3.2 * SMALL
"""And one below 0."""


def models_of(settings: Settings, name: str) -> list[str]:
    """The fine-tuned models that are the rows of a matrix; all of them where it is none of the study's own."""
    finetunes = settings.finetunes
    if name == DIFFERENCE:
        return compared_with_specialists(finetunes)
    return [m for m in finetunes if name not in matrix_names(finetunes) or matrix_of(m) == name]


def title_of(settings: Settings, name: str) -> str:
    """What a matrix of the study is called: ``FTWB1``, ``PLUG-IN``, ``FTWB2 minus expected``."""
    if is_plug_in(name):
        return "PLUG-IN"
    whose = " and ".join(dict.fromkeys(matrix_of(model).upper() for model in models_of(settings, name)))
    return f"{whose} minus expected" if name == DIFFERENCE else name.upper()


def task_label(tasks: tuple[str, ...]) -> str:
    """What a model is fine-tuned on, in two lines: rows are high, and columns have no width to spare."""
    if not tasks:
        return "no task"
    if len(tasks) > 4:
        return f"all {len(tasks)} tasks"
    half = -(-len(tasks) // 2)
    return "\n+ ".join(" + ".join(part) for part in (tasks[:half], tasks[half:]) if part)


def make_panel(settings: Settings, models: list[str], marks: dict[Key, Mark], scale: Scale) -> Panel:
    """Models as rows and tasks as columns; hatched where there is no mark."""
    finetunes, tasks = settings.finetunes, settings.tasks
    return Panel(
        rows=tuple(task_label(finetunes[model]) for model in models),
        columns=tasks,
        marks=tuple(
            tuple(replace(marks.get((model, task), Mark()), trained=task in finetunes[model]) for task in tasks)
            for model in models
        ),
        scale=scale,
    )


@dataclass(frozen=True)
class CellSize:
    """Size of cells and of the text in them and beside them, in points."""

    width: float
    height: float
    font: float
    """0 where there is no room for numbers: colours alone."""

    @classmethod
    def fitting(cls, columns: int, aside: float) -> "CellSize":
        """Cells that fill the page beside what stands ``aside``."""
        width = float(np.clip((PAGE - aside) / columns, 5, 54))
        font = float(np.clip(width / 2.85, SMALL, 7.5)) if width >= _SLIMMEST else 0
        return cls(width, 2.95 * font if font else width, font)


def abreast(panels: int, columns: int) -> int:
    """How many of some panels, of so many columns each, stand in a row, so that every number can be read."""
    most = max(1, int((PAGE - 90) / (_ROOM * columns)))
    return -(-panels // -(-panels // most))


def in_rows(panels: list[Panel]) -> list[list[Panel]]:
    """Panels in as many rows as they need."""
    n = min(2, abreast(len(panels), len(panels[0].columns)))
    return [panels[i : i + n] for i in range(0, len(panels), n)]


def draw_panels(grid: list[list[Panel]]) -> Figure:
    """Panels in rows and columns that fill the page. Rows are labelled once where neighbours share them, columns at the
    top and wherever panels have a title; right of the panels of every scale is its colour bar.

    Args:
        grid: rows of panels; the last ones may be shorter.
    """
    named = [[i == 0 or panel.rows != row[i - 1].rows for i, panel in enumerate(row)] for row in grid]
    labels: list[list[str]] = [[] for _ in range(max(map(len, grid)))]
    for row, has in zip(grid, named, strict=True):
        for i, panel in enumerate(row):
            labels[i] += panel.rows if has[i] else ()
    aside = sum(_width(of_column) for of_column in labels) + 10 * len(labels) + 36
    columns = max(sum(len(panel.columns) for panel in row) for row in grid)
    size = CellSize.fitting(columns, aside)
    heights = [max(len(panel.rows) for panel in row) for row in grid]
    figure = new_figure(aside + size.width * columns, size.height * sum(heights) + _above(grid, size))
    axes = figure.subplots(len(grid), len(labels), squeeze=False, height_ratios=heights)
    for i, panels in enumerate(grid):
        for one in axes[i, len(panels) :]:
            one.remove()
        for column, panel in enumerate(panels):
            one = axes[i, column]
            _draw_cells(one, panel, size)
            one.set_ylim(heights[i] - 0.5, -0.5)
            if named[i][column]:
                one.set_yticks(range(len(panel.rows)), panel.rows)
            if _is_headed(i, panels):
                _name_columns(one, panel, size)
            _name_panel(one, panel)
    for scale in dict.fromkeys(panel.scale for panels in grid for panel in panels):
        places = _beside(grid, scale)
        wide = size.width * sum(len(panel.columns) for panel in max(grid, key=len))
        high = size.height * sum(heights[r] for r in {r for r, _ in places})
        _color_bar(figure, [axes[place] for place in places], scale, wide, high)
    return figure


def _is_headed(row: int, panels: list[Panel]) -> bool:
    return row == 0 or any(panel.title for panel in panels)


def _beside(grid: list[list[Panel]], scale: Scale) -> list[tuple[int, int]]:
    """The panels that the colour bar of ``scale`` is beside: in rows that it has to itself, if there are some."""
    places = [(r, c) for r, panels in enumerate(grid) for c, panel in enumerate(panels) if panel.scale == scale]
    alone = [(r, c) for r, c in places if all(panel.scale == scale for panel in grid[r])]
    return alone or places


def _width(labels: list[str]) -> float:
    return max((text_width(line, TEXT) for label in labels for line in label.split("\n")), default=0)


def _above(grid: list[list[Panel]], size: CellSize) -> float:
    """About how high the names above the panels are, in points."""
    found = 12.0
    for row, panels in enumerate(grid):
        lines = max(len(panel.note.splitlines()) + bool(panel.title) for panel in panels)
        found += 8 + 1.4 * TEXT * (lines + (1 + panels[0].corner.count("\n")) * (row > 0))
        found += max(_column_height(panel, size) for panel in panels) if _is_headed(row, panels) else 0
    return found


def _is_slim(panel: Panel, size: CellSize) -> bool:
    """Whether the names of the columns are wider than they are."""
    return _width(list(panel.columns)) > 0.95 * size.width


def _column_height(panel: Panel, size: CellSize) -> float:
    if _is_slim(panel, size):
        return _width(list(panel.columns))
    return 1.4 * TEXT * max(label.count("\n") + 1 for label in panel.columns)


def _name_columns(axes: Axes, panel: Panel, size: CellSize) -> None:
    axes.set_xticks(range(len(panel.columns)), panel.columns, rotation=90 if _is_slim(panel, size) else 0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")


def _name_panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontweight="bold", fontsize=TEXT + 1, pad=3)
    axes.set_xlabel(panel.note, fontsize=TEXT, labelpad=4)
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "weight": "bold", "fontsize": TEXT + 0.5}
    axes.annotate(panel.corner, (0, 1), (-2, 1), xycoords="axes fraction", textcoords="offset points", **style)


def _draw_cells(axes: Axes, panel: Panel, size: CellSize) -> None:
    """Boxes with their text; T where the task was trained; hatched without a number."""
    for row, marks in enumerate(panel.marks):
        for column, mark in enumerate(marks):
            box = Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, linewidth=0, clip_on=False)
            axes.add_artist(box)
            if mark.value is None:
                box.set(facecolor="none", hatch="//////", edgecolor=HATCH)
                ink = INK
            else:
                box.set_facecolor(panel.scale.color(mark.value))
                ink = ink_on(panel.scale.color(mark.value))
            _write(axes, column, row, mark, ink, size)
    for artist in (*axes.patches, *axes.texts):
        artist.set_in_layout(False)  # all lies inside the axes; measuring it takes most of the time
    axes.set(xlim=(-0.5, len(panel.columns) - 0.5), xticks=[], yticks=[])
    axes.tick_params(length=0, labelcolor=INK, labelsize=TEXT, pad=2)
    axes.spines[:].set_visible(False)


def _write(axes: Axes, column: int, row: int, mark: Mark, ink: str, size: CellSize) -> None:
    middle: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    for text, y, font in (
        (mark.text, row - 0.03 if mark.below else row + 0.08, size.font),
        (mark.below, row + 0.31, 0.76 * size.font),
    ):
        if text and size.font:
            room = 0.98 * size.width / text_width(text, font)  # a number far off the scale is long
            axes.text(column, y, text, fontsize=max(SMALL, font * min(room, 1)), **middle)
    if mark.trained and size.font:
        corner: dict[str, Any] = {"ha": "right", "va": "top", "weight": "bold", "fontsize": SMALL}
        axes.text(column + 0.46, row - 0.45, "T", color=ink, **corner)
    if mark.outlined:
        around: dict[str, Any] = {"facecolor": "none", "edgecolor": ink, "linewidth": 0.9, "clip_on": False}
        axes.add_artist(Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, **around))


def _color_bar(figure: Figure, axes: list[Axes], scale: Scale, width: float, height: float) -> None:
    """Right of ``axes``, about as high as their cells and 6 points wide."""
    colors = ScalarMappable(Normalize(scale.low, scale.high), scale.colors)
    shape: dict[str, Any] = {"fraction": 10 / width, "aspect": height / 6}
    bar = figure.colorbar(colors, ax=axes, pad=0.01, extend="both", **shape)
    bar.outline.set_visible(False)
    bar.set_label(scale.label, fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL, length=1.5, width=0.5, color=FAINT, labelcolor=INK)
