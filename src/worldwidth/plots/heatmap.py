"""The one heat map: panels of coloured cells with names, colour bars, and in an SVG a tooltip for every cell."""

from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from worldwidth.evaluation.scores import DIFFERENCE, compared_with_specialists, matrix_names, matrix_of
from worldwidth.plots.style import FAINT, HATCH, INK, PAGE, SMALL, TEXT, Rgb, ink_on, new_figure, text_width
from worldwidth.settings.schema import Settings, is_plug_in

MARKS = "T: trained; hatched: not measurable or missing"
MEANING = "Normalised improvement on Atlantis: 0 as the base model there, 1 as it is on ordinary cities."
EXPECTED = "Expected: the better of its tasks' single-task models; blue: better than that."
HINT = "hint "
"""Before a cell's tooltip in the id of its box, which an SVG keeps: see plots/svg.py."""


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

    def shades(self, number: int) -> list[str]:
        """Colours in hexadecimal, from ``low`` to ``high``."""
        return [to_hex(color) for color in matplotlib.colormaps[self.colors](np.linspace(0, 1, number))]


SCORE = Scale("RdYlGn", 0.0, 1.0, "normalised improvement")
SIGNED = Scale("RdBu", -0.5, 0.5, "score minus expected")  # red is worse than expected, blue better


@dataclass(frozen=True)
class Mark:
    """What a cell shows."""

    value: float | None = None
    """None: hatched."""
    below: str = ""
    trained: bool = False
    outlined: bool = False
    hint: str = ""

    @property
    def text(self) -> str:
        """The number, 0 without a sign."""
        return "" if self.value is None else f"{self.value:.2f}".replace("-0.00", "0.00")


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
    beside: float

    @classmethod
    def fitting(cls, columns: int, aside: float) -> "CellSize":
        """Cells that fill the page beside what stands ``aside``, but no slimmer than their text."""
        width = float(np.clip((PAGE - aside) / columns, 12.5, 54))
        font = float(np.clip(width / 2.85, 4.8, 7.5))
        return cls(width, 2.95 * font, font, min(font + 0.6, TEXT))


def in_rows(panels: list[Panel]) -> list[list[Panel]]:
    """Panels beside each other; four, or more of an even number, in two rows, for a page is too narrow for one."""
    half = len(panels) // 2
    return [panels[:half], panels[half:]] if len(panels) > 3 and len(panels) % 2 == 0 else [panels]


def draw_panels(grid: list[list[Panel]], size: CellSize | None = None, bars: bool = True) -> Figure:
    """Panels in rows and columns. Rows are labelled once where neighbours share them, columns at the top.

    Args:
        size: of the cells; without it they fill the page.
        bars: one colour bar for every scale, right of the panels that have it.
    """
    named = [[i == 0 or panel.rows != row[i - 1].rows for i, panel in enumerate(row)] for row in grid]
    labels = [
        [label for row, has in zip(grid, named, strict=True) if has[i] for label in row[i].rows]
        for i in range(len(grid[0]))
    ]
    aside = sum(_width(of_column, size.beside if size else TEXT) for of_column in labels) + 10 * len(labels) + 36 * bars
    columns = sum(len(panel.columns) for panel in grid[0])
    size = size or CellSize.fitting(columns, aside)
    heights = [max(len(panel.rows) for panel in row) for row in grid]
    figure = new_figure(aside + size.width * columns, size.height * sum(heights) + _above(grid, size))
    axes = figure.subplots(len(grid), len(labels), squeeze=False, height_ratios=heights)
    for row, panels in enumerate(grid):
        for column, panel in enumerate(panels):
            one = axes[row, column]
            _draw_cells(one, panel, size)
            one.set_ylim(heights[row] - 0.5, -0.5)
            if named[row][column]:
                one.set_yticks(range(len(panel.rows)), panel.rows)
            if row == 0:
                _name_columns(one, panel, size)
            _name_panel(one, panel, size)
    for scale in dict.fromkeys(panel.scale for panels in grid for panel in panels) if bars else ():
        places = _beside(grid, scale)
        wide = size.width * sum(len(grid[0][c].columns) for c in {c for _, c in places})
        high = size.height * sum(heights[r] for r in {r for r, _ in places})
        _color_bar(figure, [axes[place] for place in places], scale, size, wide, high)
    return figure


def _beside(grid: list[list[Panel]], scale: Scale) -> list[tuple[int, int]]:
    """The panels that the colour bar of ``scale`` is beside: in rows that it has to itself, if there are some."""
    places = [(r, c) for r, panels in enumerate(grid) for c, panel in enumerate(panels) if panel.scale == scale]
    alone = [(r, c) for r, c in places if all(panel.scale == scale for panel in grid[r])]
    return alone or places


def _width(labels: list[str], size: float) -> float:
    return max((text_width(line, size) for label in labels for line in label.split("\n")), default=0)


def _above(grid: list[list[Panel]], size: CellSize) -> float:
    """About how high the names above the panels are, in points."""
    label = max((_column_height(panel, size) for panel in grid[0]), default=0)
    lines = max(len(panel.note.splitlines()) + bool(panel.title) for panel in grid[0])
    corners = sum(1 + row[0].corner.count("\n") + bool(row[0].title) for row in grid[1:])
    return label + 1.4 * size.beside * (lines + corners) + 8 * len(grid) + 12


def _is_slim(panel: Panel, size: CellSize) -> bool:
    """Whether the names of the columns are wider than they are."""
    return _width(list(panel.columns), size.beside) > 0.95 * size.width


def _column_height(panel: Panel, size: CellSize) -> float:
    if _is_slim(panel, size):
        return _width(list(panel.columns), size.beside)
    return 1.4 * size.beside * max(label.count("\n") + 1 for label in panel.columns)


def _name_columns(axes: Axes, panel: Panel, size: CellSize) -> None:
    axes.set_xticks(range(len(panel.columns)), panel.columns, rotation=90 if _is_slim(panel, size) else 0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")


def _name_panel(axes: Axes, panel: Panel, size: CellSize) -> None:
    axes.set_title(panel.title, fontweight="bold", fontsize=size.beside + 1, pad=3)
    axes.set_xlabel(panel.note, fontsize=size.beside, labelpad=4)
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "weight": "bold", "fontsize": size.beside + 0.5}
    axes.annotate(panel.corner, (0, 1), (-2, 1), xycoords="axes fraction", textcoords="offset points", **style)


def _draw_cells(axes: Axes, panel: Panel, size: CellSize) -> None:
    """Boxes with their text; T where the task was trained; hatched without a number."""
    for row, marks in enumerate(panel.marks):
        for column, mark in enumerate(marks):
            box = Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, linewidth=0, clip_on=False)
            box.set_gid(HINT + mark.hint if mark.hint else None)
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
    axes.tick_params(length=0, labelcolor=INK, labelsize=size.beside, pad=2)
    axes.spines[:].set_visible(False)


def _write(axes: Axes, column: int, row: int, mark: Mark, ink: str, size: CellSize) -> None:
    middle: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    for text, y, font in (
        (mark.text, row - 0.03 if mark.below else row + 0.08, size.font),
        (mark.below, row + 0.29, 0.76 * size.font),
    ):
        if text:
            room = 0.94 * size.width / text_width(text, font)  # a number far off the scale is long
            axes.text(column, y, text, fontsize=font * min(room, 1), **middle)
    if mark.trained:
        corner: dict[str, Any] = {"ha": "right", "va": "top", "weight": "bold", "fontsize": 0.72 * size.font}
        axes.text(column + 0.42, row - 0.43, "T", color=ink, **corner)
    if mark.outlined:
        around: dict[str, Any] = {"facecolor": "none", "edgecolor": ink, "linewidth": 0.9, "clip_on": False}
        axes.add_artist(Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, **around))


def _color_bar(figure: Figure, axes: list[Axes], scale: Scale, size: CellSize, width: float, height: float) -> None:
    """Right of ``axes``, about as high as their cells and 6 points wide."""
    colors = ScalarMappable(Normalize(scale.low, scale.high), scale.colors)
    shape: dict[str, Any] = {"fraction": 10 / width, "aspect": height / 6}
    bar = figure.colorbar(colors, ax=axes, pad=0.01, extend="both", **shape)
    bar.outline.set_visible(False)
    bar.set_label(scale.label, fontsize=size.beside)
    bar.ax.tick_params(labelsize=min(size.beside, SMALL), length=1.5, width=0.5, color=FAINT, labelcolor=INK)
