"""Made-up scores to draw, and what can be read from a drawn heat map."""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation, Text

from worldwidth.evaluation.scores import DIFFERENCE, Cell, compared_with_specialists, matrix_of
from worldwidth.settings.schema import Settings

NAMES = ("plug1", "ftwb1", "ftwb2", DIFFERENCE)


def make_cells(settings: Settings, score: Callable[[str, str, str], float | None]) -> list[Cell]:
    """All cells of a study with ``score(matrix, model, task)`` in them."""
    single = [(matrix_of(model), model) for model in settings.finetunes]
    both = [(DIFFERENCE, model) for model in compared_with_specialists(settings.finetunes)]
    cells: list[Cell] = []
    for (name, model), task in itertools.product(single + both, settings.tasks):
        value = score(name, model, task)
        cell = Cell(
            matrix=name,
            model=model,
            task=task,
            trained=task in settings.finetunes[model],
            raw=10.0,
            base_atlantis=20.0,
            base_world=5.0,
            constant=12.0,
            constant_score=0.375,
            score=value,
            standard_error=None if value is None else 0.04,
            expected=None,
            measurable=value is not None,
        )
        cells.append(cell)
    return cells


def varied(name: str, model: str, task: str) -> float | None:
    """Scores from far below to far above the colours' ends; the angle column and one cell more: not measurable."""
    if task == "angle" or (model, task) == ("ftwb2-9", "inside"):
        return None
    digest = hashlib.sha256(f"{name} {model} {task}".encode()).digest()
    return (digest[0] / 255 - 0.5) * (2 if name == DIFFERENCE else 5)


def statistics(name: str) -> dict[str, Any]:
    """Of a matrix's cells; a plug-in is not held against the control."""
    values: dict[str, Any] = {"measurable": 36, "cells": 49 if name in ("plug1", "ftwb1") else 42}
    further = {"plug1": (), DIFFERENCE: ("overall",)}.get(name, ("transfer_minus_control",))
    for block in ("trained", "transfer", *further):
        values |= {block: 0.512, f"{block}_std": 0.257, f"{block}_se": 0.0312}
    return values


# --- reading a figure

Place = tuple[int, int]
"""(row, column)."""


@dataclass(frozen=True)
class Seen:
    """What a cell shows."""

    text: str = ""
    below: str = ""
    trained: bool = False
    hatched: bool = False
    outlined: bool = False
    color: Any = None


def panels(figure: Figure) -> list[Axes]:
    """The axes that hold cells, row by row, without the colour bars."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def place_of(x: float, y: float) -> Place:
    return round(y), round(x)


def cell_texts(axes: Axes) -> list[Text]:
    return [text for text in axes.texts if not isinstance(text, Annotation)]


def read(axes: Axes) -> dict[Place, Seen]:
    """Every cell of a panel."""
    found: dict[Place, Seen] = {}
    for box in axes.patches:
        assert isinstance(box, Rectangle)
        place = place_of(*box.get_center())
        if place not in found:
            found[place] = Seen(hatched=bool(box.get_hatch()), color=box.get_facecolor())
        else:
            assert not found[place].outlined
            found[place] = replace(found[place], outlined=True)
    for text in cell_texts(axes):
        place, shown = place_of(*text.get_position()), text.get_text()
        kind = "trained" if shown == "T" else "below" if shown[0] in "±n" else "text"
        assert not getattr(found[place], kind)
        change: dict[str, Any] = {kind: shown == "T" or shown}
        found[place] = replace(found[place], **change)
    return found


def column_labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def row_labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def caption(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def shown_texts(figure: Figure) -> list[Text]:
    """All texts but the labels of ticks outside their axis, which are not drawn."""
    hidden = {
        id(label)
        for axes in figure.axes
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not axes.get_visible() or not min(limits) - 1e-9 <= tick.get_loc() <= max(limits) + 1e-9
    }
    found = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible() and text.get_text()]
    return [text for text in found if id(text) not in hidden]


def nothing_is_cut(figure: Figure) -> None:
    """Every text lies on the canvas, and every text of a cell in its cell, none on another."""
    figure.draw_without_rendering()
    for text in shown_texts(figure):
        box = text.get_window_extent()
        assert -1 <= box.x0 <= box.x1 <= figure.bbox.x1 + 1, text
        assert -1 <= box.y0 <= box.y1 <= figure.bbox.y1 + 1, text
    for axes in figure.axes:
        inside: dict[Place, list[Text]] = {}
        for text in cell_texts(axes) if axes.patches else ():
            inside.setdefault(place_of(*text.get_position()), []).append(text)
        for (row, column), texts in inside.items():
            (x0, y0), (x1, y1) = axes.transData.transform([(column - 0.5, row + 0.5), (column + 0.5, row - 0.5)])
            boxes = [text.get_window_extent() for text in texts]
            assert all(x0 <= box.x0 <= box.x1 <= x1 and y0 <= box.y0 <= box.y1 <= y1 for box in boxes), texts
            for one, two in itertools.combinations(boxes, 2):
                assert min(one.y1, two.y1) - max(one.y0, two.y0) < 0.35 * min(one.height, two.height), texts


def no_labels_overlap(figure: Figure) -> None:
    """Titles, captions, names of rows and columns and the cells lie beside each other."""
    figure.draw_without_rendering()
    inside = {id(text) for axes in figure.axes for text in cell_texts(axes)}
    boxes = [text.get_window_extent() for text in shown_texts(figure) if id(text) not in inside]
    boxes += [axes.get_window_extent() for axes in panels(figure)]
    for one, two in itertools.combinations(boxes, 2):
        width, height = (
            min(getattr(one, f"{s}1"), getattr(two, f"{s}1")) - max(getattr(one, f"{s}0"), getattr(two, f"{s}0"))
            for s in "xy"
        )
        assert width < 1 or height < 0.35 * min(one.height, two.height), (one, two)
