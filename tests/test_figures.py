"""The figures: what stands in every cell, colours, labels, layout, and the same bytes every time.

pytest tests/test_figures.py
"""

import hashlib
import itertools
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from worldwidth.figures import MatrixPlot, draw_matrix, draw_overview, draw_training, draw_world, save_figure
from worldwidth.matrix import Matrix, load
from worldwidth.regions import REGIONS
from worldwidth.scores import DIFFERENCE, Cell, matrix_of
from worldwidth.study_plots import draw_setting, draw_study, matrix_plot
from worldwidth.world import City

ROOT = Path(__file__).parents[1]
NAMES = ("ftwb1", "ftwb2", DIFFERENCE)
NUMBER = r"-?\d+\.\d+"
Place = tuple[str, str]


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return replace(load(ROOT / "params.yaml"), arch="narrow", scale="smoke", seed=1234)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No test leaves a figure open."""
    yield
    plt.close("all")


def make_cells(matrix: Matrix, score: Callable[[str, str, str], float | None]) -> list[Cell]:
    """All cells of a study with ``score(matrix, model, task)`` in them."""
    single = [(matrix_of(model), model) for model in matrix.finetunes]
    both = [(DIFFERENCE, model) for model, trained in matrix.finetunes.items() if len(trained) > 1]
    cells: list[Cell] = []
    for (name, model), task in itertools.product(single + both, matrix.tasks):
        value = score(name, model, task)
        cell = Cell(
            matrix=name,
            model=model,
            task=task,
            trained=task in matrix.finetunes[model],
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
    """Scores from far below to far above the shown range; the angle column and one cell more: not measurable."""
    if task == "angle" or (model, task) == ("ftwb2-9", "inside"):
        return None
    digest = hashlib.sha256(f"{name} {model} {task}".encode()).digest()
    return (digest[0] / 255 - 0.5) * (2 if name == DIFFERENCE else 5)


def statistics(name: str) -> dict[str, Any]:
    values: dict[str, Any] = {"measurable": 36, "cells": 49 if name == "ftwb1" else 42}
    for block in ("trained", "transfer", "overall")[: 3 if name == DIFFERENCE else 2]:
        values |= {block: 0.512, f"{block}_std": 0.257, f"{block}_se": 0.0312}
    return values


def made_plot(matrix: Matrix, name: str, missing: frozenset[str] = frozenset()) -> MatrixPlot:
    cells = [cell for cell in make_cells(matrix, varied) if cell.model not in missing]
    return matrix_plot(matrix, name, cells, statistics(name), missing)


def main_axes(figure: Figure) -> list[Axes]:
    """The axes that hold a matrix, without the colour bars."""
    return [axes for axes in figure.axes if axes.images]


def place(plot: MatrixPlot, x: float, y: float) -> Place:
    """The (model, task) of the cell around a point."""
    return list(plot.rows)[round(y)], list(plot.columns)[round(x)]


def texts(axes: Axes, plot: MatrixPlot, pattern: str) -> dict[Place, str]:
    """The texts inside the cells that match ``pattern``."""
    found: dict[Place, str] = {}
    for text in axes.texts:
        if re.fullmatch(pattern, text.get_text()):
            where = place(plot, *text.get_position())
            assert where not in found
            found[where] = text.get_text()
    return found


def own_cells(plot: MatrixPlot) -> dict[Place, Cell]:
    return {(cell.model, cell.task): cell for cell in plot.cells}


def hatched(axes: Axes, plot: MatrixPlot) -> set[Place]:
    patches = [patch for patch in axes.patches if patch.get_hatch()]
    boxes = [patch.get_path().get_extents(patch.get_patch_transform()) for patch in patches]
    assert all((box.width, box.height) == pytest.approx((1, 1)) for box in boxes)
    return {place(plot, (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in boxes}


# --- one matrix, before it is saved


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_says_its_score(matrix: Matrix, name: str) -> None:
    plot = made_plot(matrix, name)
    (axes,) = main_axes(draw_matrix(plot))
    cells = {where: cell.score for where, cell in own_cells(plot).items() if cell.score is not None}
    shown = {where: score if name == DIFFERENCE else min(max(score, 0), 1.5) for where, score in cells.items()}
    assert texts(axes, plot, NUMBER) == {where: f"{score:.2f}" for where, score in shown.items()}
    assert texts(axes, plot, "± .*") == dict.fromkeys(cells, "± 0.04")
    assert len(cells) == {"ftwb1": 42, "ftwb2": 35, DIFFERENCE: 35}[name]
    if name == DIFFERENCE:  # the scores of the test reach beyond the clipping of the other matrices
        assert min(cells.values()) < -0.5
    else:
        assert {"0.00", "1.50"} <= set(texts(axes, plot, NUMBER).values())


@pytest.mark.parametrize("name", NAMES)
def test_t_marks_the_trained_cells_and_hatching_those_without_a_number(matrix: Matrix, name: str) -> None:
    plot = made_plot(matrix, name)
    (axes,) = main_axes(draw_matrix(plot))
    models = [model for model in matrix.finetunes if matrix_of(model) == ("ftwb1" if name == "ftwb1" else "ftwb2")]
    trained = {(model, task) for model in models for task in matrix.finetunes[model]}
    assert set(texts(axes, plot, "T")) == trained
    assert len(trained) == (7 if name == "ftwb1" else 12)
    without = {(model, "angle") for model in models}
    assert hatched(axes, plot) == without | (set() if name == "ftwb1" else {("ftwb2-9", "inside")})


@pytest.mark.parametrize("name", NAMES)
def test_the_coloured_table_holds_the_scores(matrix: Matrix, name: str) -> None:
    plot = made_plot(matrix, name)
    (axes,) = main_axes(draw_matrix(plot))
    table: NDArray[np.float64] = np.ma.filled(np.ma.asarray(axes.images[0].get_array(), dtype=float), np.nan)
    assert table.shape == (len(plot.rows), 7)
    for (row, model), (column, task) in itertools.product(enumerate(plot.rows), enumerate(plot.columns)):
        score = own_cells(plot)[model, task].score
        if score is None:
            assert np.isnan(table[row, column])
        else:
            assert np.clip(table[row, column], -0.5, 1.0) == pytest.approx(
                np.clip(score, -0.5 if name == DIFFERENCE else 0.0, 1.0)
            )


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_columns_follow_params(matrix: Matrix, name: str) -> None:
    (axes,) = main_axes(draw_matrix(made_plot(matrix, name)))
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert [label.split("\n")[0] for label in columns] == list(matrix.tasks)
    assert all(("(const 0.38)" in label) is (name != DIFFERENCE) for label in columns)
    rows = [label.get_text().split() for label in axes.get_yticklabels()]
    models = [model for model in matrix.finetunes if matrix_of(model) == ("ftwb1" if name == "ftwb1" else "ftwb2")]
    assert [row[0] for row in rows] == [model.split("-")[1] for model in models]
    assert [[word for word in row[1:] if word != "+"] for row in rows] == [list(matrix.finetunes[m]) for m in models]
    assert list(axes.get_xticks()) == list(range(7))
    assert list(axes.get_yticks()) == list(range(len(models)))
    top, bottom = axes.get_ylim()[::-1]
    assert top < bottom  # the first row is the uppermost


def test_the_published_order_of_pairs(matrix: Matrix) -> None:
    assert [label.split()[0] for label in made_plot(matrix, "ftwb2").rows.values()] == ["4", "13", "15", "2", "9", "12"]


@pytest.mark.parametrize("name", NAMES)
def test_colours_and_their_limits(matrix: Matrix, name: str) -> None:
    figure = draw_matrix(made_plot(matrix, name))
    (axes,) = main_axes(figure)
    image = axes.images[0]
    assert image.cmap.name == ("RdBu" if name == DIFFERENCE else "RdYlGn")
    assert image.get_clim() == ((-0.5, 0.5) if name == DIFFERENCE else (0.0, 1.0))
    marks = np.array([-0.5, 0, 0.5] if name == DIFFERENCE else [0, 0.5, 1])
    low, middle, high = np.asarray(image.cmap(np.asarray(image.norm(marks))))[:, :3]
    assert low[0] > 2 * max(low[1:])  # red is worse
    assert min(middle[:2]) > 0.9
    assert max(high) == high[2 if name == DIFFERENCE else 1]  # blue, green is better
    assert high[0] < 0.3
    bars = [other for other in figure.axes if other is not axes]
    assert len(bars) == 1
    assert bars[0].get_ylabel() == ("score minus expected" if name == DIFFERENCE else "normalised improvement")
    assert bars[0].get_ylim() == image.get_clim()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("missing", ["some", "all"])
def test_an_unfinished_matrix_keeps_its_scale(matrix: Matrix, name: str, missing: str) -> None:
    """A half-finished study may have no difference at all; its picture is one of differences all the same."""
    gone = [m for m in matrix.finetunes if matrix_of(m) == ("ftwb1" if name == "ftwb1" else "ftwb2")]
    plot = made_plot(matrix, name, frozenset(gone[1:] if missing == "some" else gone))
    figure = draw_matrix(plot)
    (axes,) = main_axes(figure)
    assert axes.images[0].get_clim() == ((-0.5, 0.5) if name == DIFFERENCE else (0.0, 1.0))
    assert axes.images[0].cmap.name == ("RdBu" if name == DIFFERENCE else "RdYlGn")


@pytest.mark.parametrize("name", NAMES)
def test_the_title_says_which_study_and_the_caption_its_statistics(matrix: Matrix, name: str) -> None:
    (axes,) = main_axes(draw_matrix(made_plot(matrix, name)))
    title = axes.get_title(loc="left")
    for part in ("narrow", "smoke", "1234", "FTWB1" if name == "ftwb1" else "FTWB2"):
        assert part in title
    (caption,) = (text.get_text() for text in axes.texts if "\n" in text.get_text())
    for part in ("trained 0.51 ± 0.03", "transfer 0.51 ± 0.03", "0.26", "36 of 4"):
        assert part in caption
    assert ("overall 0.51 ± 0.03" in caption) is (name == DIFFERENCE)


def test_statistics_that_are_not_measurable_are_said_to_be_so(matrix: Matrix) -> None:
    values = {**statistics("ftwb1"), "transfer": None, "transfer_std": None, "transfer_se": None, "trained_se": None}
    caption = matrix_plot(matrix, "ftwb1", [], values).caption
    assert "trained 0.51 ± n.m." in caption
    assert "None" not in caption
    assert "nan" not in caption
    columns = matrix_plot(matrix, "ftwb1", [], values).columns
    assert columns["distance"] == "distance\n(const n.m.)"


def test_missing_models_are_marked_hatched_and_keep_their_rows(matrix: Matrix) -> None:
    plot = made_plot(matrix, "ftwb2", frozenset({"ftwb2-13", "ftwb2-12", "ftwb1-1"}))
    (axes,) = main_axes(draw_matrix(plot))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == 6
    assert [label.split()[0] for label in labels if "(missing)" in label] == ["13", "12"]
    rows = {(model, task) for model in ("ftwb2-13", "ftwb2-12") for task in matrix.tasks}
    assert rows <= hatched(axes, plot)
    assert not rows & set(texts(axes, plot, NUMBER))
    assert len(texts(axes, plot, NUMBER)) == 4 * 7 - 4 - 1


def test_ink_is_readable_on_every_colour(matrix: Matrix) -> None:
    """Contrast of at least 3 : 1 (WCAG 2, large text) between a score and its cell."""

    def luminance(color: Any) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    from matplotlib.colors import to_rgb

    for name in NAMES:
        values = iter(np.resize(np.linspace(-0.6, 1.1, 91), 1000))
        plot = matrix_plot(matrix, name, make_cells(matrix, lambda *_: float(next(values))), statistics(name))  # noqa: B023
        (axes,) = main_axes(draw_matrix(plot))
        image = axes.images[0]
        table = np.asarray(image.get_array())
        for text in axes.texts:
            if re.fullmatch(NUMBER, text.get_text()):
                x, y = text.get_position()
                pair = luminance(image.cmap(image.norm(table[round(y), round(x)]))), luminance(to_rgb(text.get_color()))
                assert (max(pair) + 0.05) / (min(pair) + 0.05) >= 3


def test_the_overview_has_the_matrices_in_order(matrix: Matrix) -> None:
    plots = [made_plot(matrix, name) for name in NAMES]
    drawn = main_axes(draw_overview(plots))
    assert [axes.get_title(loc="left") for axes in drawn] == [plot.title for plot in plots]
    for axes, plot in zip(drawn, plots, strict=True):
        (alone,) = main_axes(draw_matrix(plot))
        assert [text.get_text() for text in axes.texts] == [text.get_text() for text in alone.texts]
        assert axes.images[0].get_clim() == alone.images[0].get_clim()


# --- layout, in the style that the files are drawn in


def crowded(matrix: Matrix) -> Matrix:
    """Thirteen fine-tunes with the longest names."""
    pairs = sorted(itertools.combinations(matrix.tasks, 2), key=lambda pair: -len("".join(pair)))[:13]
    finetunes: dict[str, tuple[str, ...]] = {f"ftwb2-{99 - i}": pair for i, pair in enumerate(pairs)}
    return replace(matrix, finetunes=finetunes)


class LookedAtError(Exception):
    """Ends the drawing of a figure that need not be written."""


def laid_out(draw: Callable[[], Figure], folder: Path, look: Callable[[Figure], None]) -> None:
    """``look`` at a figure in the style and layout of its file."""

    def drawing() -> Figure:
        figure = draw()
        figure.draw_without_rendering()
        look(figure)
        raise LookedAtError

    with pytest.raises(LookedAtError):
        save_figure("figure", drawing, folder)


def extent(text: Text) -> Bbox:
    return text.get_window_extent()


def visible_texts(figure: Figure) -> list[Text]:
    found = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible() and text.get_text()]
    ticks = {
        id(label)
        for axes in figure.axes
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not min(limits) - 1e-9 <= tick.get_loc() <= max(limits) + 1e-9  # outside its axis: not drawn
    }
    return [text for text in found if id(text) not in ticks]


def no_text_is_cut(figure: Figure) -> None:
    canvas = figure.bbox
    for text in visible_texts(figure):
        box = extent(text)
        inside = (
            box.x0 >= canvas.x0 - 1 and box.x1 <= canvas.x1 + 1 and box.y0 >= canvas.y0 - 1 and box.y1 <= canvas.y1 + 1
        )
        assert inside, f"{text.get_text()!r} at {box} is not on the canvas {canvas}"


def no_two_overlap(boxes: list[Bbox]) -> None:
    for first, second in itertools.combinations(boxes, 2):
        assert Bbox.intersection(first, second) is None, (first, second)


def no_label_overlaps(figure: Figure) -> None:
    """Title, caption, axis labels and matrices lie beside each other, and so do all tick labels and cell texts."""
    for axes in main_axes(figure):
        caption = next(text for text in axes.texts if "\n" in text.get_text())
        title = next(
            text for text in axes.findobj(Text) if isinstance(text, Text) and text.get_text() == axes.get_title("left")
        )
        ticks = [label for label in (*axes.get_xticklabels(), *axes.get_yticklabels()) if label.get_text()]
        names = [caption, title, axes.xaxis.label, axes.yaxis.label, *ticks]
        cells = [text for text in axes.texts if text is not caption]
        no_two_overlap([axes.get_window_extent(), *map(extent, names)])
        no_two_overlap([extent(text) for text in cells])
        for text in cells:
            x, y = text.get_position()
            (x0, y0), (x1, y1) = axes.transData.transform(
                [(round(x) - 0.5, round(y) + 0.5), (round(x) + 0.5, round(y) - 0.5)]
            )
            box = extent(text)
            assert x0 <= box.x0 <= box.x1 <= x1, text
            assert y0 <= box.y0 <= box.y1 <= y1, text


@pytest.mark.parametrize("name", NAMES)
def test_layout_of_a_matrix(matrix: Matrix, tmp_path: Path, name: str) -> None:
    """The matrix takes most of the picture, and the colour bar stands close to it, as high (but for its points)."""

    def look(figure: Figure) -> None:
        no_text_is_cut(figure)
        no_label_overlaps(figure)
        (axes,) = main_axes(figure)
        box = axes.get_window_extent()
        (bar,) = (other.get_window_extent() for other in figure.axes if other is not axes)
        assert box.width >= 0.6 * figure.bbox.width
        assert bar.height >= 0.85 * box.height
        assert bar.x0 - box.x1 <= 0.05 * figure.bbox.width

    laid_out(lambda: draw_matrix(made_plot(matrix, name)), tmp_path, look)


@pytest.mark.parametrize("name", ["ftwb2", DIFFERENCE])
def test_layout_with_thirteen_rows_of_the_longest_names(matrix: Matrix, tmp_path: Path, name: str) -> None:
    many = crowded(matrix)
    missing = frozenset({"ftwb2-99", "ftwb2-87"})

    def look(figure: Figure) -> None:
        assert len(main_axes(figure)[0].get_yticklabels()) == 13
        no_text_is_cut(figure)
        no_label_overlaps(figure)

    laid_out(lambda: draw_matrix(made_plot(many, name, missing)), tmp_path, look)


def test_layout_of_the_overview(matrix: Matrix, tmp_path: Path) -> None:
    def look(figure: Figure) -> None:
        no_text_is_cut(figure)
        no_label_overlaps(figure)
        no_two_overlap([axes.get_tightbbox() for axes in main_axes(figure)])  # type: ignore[misc]

    laid_out(lambda: draw_overview([made_plot(matrix, name) for name in NAMES]), tmp_path, look)


# --- files


def size_of(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def chunks(path: Path) -> list[bytes]:
    content, at, found = path.read_bytes(), 8, []
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        found.append(content[at + 4 : at + 8])
        at += 12 + length
    return found


def test_the_study_is_drawn_to_the_same_bytes_every_time(matrix: Matrix, tmp_path: Path) -> None:
    cells = make_cells(matrix, varied)
    headline = {name: statistics(name) for name in NAMES}
    once = draw_study(matrix, cells, headline, tmp_path / "once")
    with plt.rc_context({"font.size": 20, "figure.dpi": 40}):  # whatever another figure left behind
        again = draw_study(matrix, cells, headline, tmp_path / "again")
    assert [path.name for path in once] == ["ftwb1.png", "ftwb2.png", "difference.png", "overview.png"]
    assert sorted(path.name for path in (tmp_path / "once").iterdir()) == sorted(path.name for path in once)
    for first, second in zip(once, again, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
    widths = {path.stem: size_of(path)[0] for path in once}
    heights = {path.stem: size_of(path)[1] for path in once}
    for name in NAMES:
        assert 1000 <= widths[name] <= 2200
        assert 600 <= heights[name] <= 1400
    assert 2.5 * widths["ftwb1"] <= widths["overview"] <= 3.5 * widths["ftwb1"]
    assert heights["ftwb1"] <= heights["overview"] <= 1.2 * heights["ftwb1"]
    assert sum(path.stat().st_size for path in once) < 2_000_000  # they live in git
    assert all(
        set(chunks(path)) <= {b"IHDR", b"pHYs", b"sBIT", b"IDAT", b"IEND"} for path in once
    )  # no date, no version
    assert not plt.get_fignums()


def test_a_failure_leaves_no_file_and_keeps_the_old_one(matrix: Matrix, tmp_path: Path) -> None:
    path = tmp_path / "ftwb1.png"
    path.write_bytes(b"old")

    def fails() -> Figure:
        raise KeyError("cell")

    with pytest.raises(KeyError):
        save_figure("ftwb1", fails, tmp_path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# --- training curves and the map


def made_curves(matrix: Matrix) -> pd.DataFrame:
    rows = [
        {"step": step, "tokens": 1000 * step, "loss": 5 / step, "validation_loss": None, "model": model}
        for model in matrix.models
        for step in (1, 10, 100)
    ]
    return pd.DataFrame(rows)


def made_cities() -> list[City]:
    regions = [*REGIONS, "Other"]
    return [
        City(
            geonameid=i,
            name=f"City {i}",
            country_code="XX",
            region=region,
            population=1,
            x=10 * i - 90,
            y=i**2 - 100,
            city_id=i,
            is_atlantis=region == "Atlantis",
        )
        for i, region in enumerate(regions)
    ]


def test_training_curves_are_drawn_from_the_table(matrix: Matrix) -> None:
    figure = draw_training(made_curves(matrix), "Training loss")
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["base"]
    assert [line.get_label() for line in right.lines] == list(matrix.finetunes)
    for line in (*left.lines, *right.lines):
        assert np.asarray(line.get_xdata()).tolist() == [1000, 10_000, 100_000]
        assert np.asarray(line.get_ydata()).tolist() == [5, 0.5, 0.05]
    assert len({line.get_color() for line in right.lines}) == 13
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(matrix.finetunes)


def test_the_map_shows_every_city_and_region() -> None:
    cities = made_cities()
    figure = draw_world(cities, "The world")
    (axes,) = figure.axes
    offsets = np.concatenate([np.asarray(collection.get_offsets()) for collection in axes.collections])
    assert sorted(map(tuple, offsets.tolist())) == sorted((city.x, city.y) for city in cities)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"{region} (1)" for region in (*REGIONS, "Other")]
    colors = [tuple(np.asarray(collection.get_facecolor())[0]) for collection in axes.collections]
    assert len(set(colors)) == len(cities)
    atlantis = colors[list(REGIONS).index("Atlantis")]
    assert max(atlantis[:3]) < 0.2


def test_setting_files_and_layout(matrix: Matrix, tmp_path: Path) -> None:
    once = draw_setting(matrix, made_curves(matrix), made_cities(), tmp_path / "once")
    again = draw_setting(matrix, made_curves(matrix), made_cities(), tmp_path / "again")
    assert [path.name for path in once] == ["training.png", "world.png"]
    for first, second in zip(once, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
        width, height = size_of(first)
        assert 1000 <= width <= 2000
        assert 400 <= height <= 1200
    laid_out(lambda: draw_training(made_curves(matrix), "Training loss"), tmp_path, no_text_is_cut)
    laid_out(lambda: draw_world(made_cities(), "The world"), tmp_path, no_text_is_cut)
