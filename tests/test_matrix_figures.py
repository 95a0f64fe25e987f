"""What a drawn matrix says: the text of every cell, hatching, colours, labels, title and caption.

pytest tests/test_matrix_figures.py
"""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from numpy.typing import NDArray
from worldwidth.plots.figures import MatrixPlot, draw_matrix, draw_overview

from fake_plots import NAMES, made_plot, main_axes, make_cells, statistics
from worldwidth.evaluation.scores import DIFFERENCE, Cell, matrix_of
from worldwidth.plots.study import matrix_plot
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

pytestmark = pytest.mark.usefixtures("closed_figures")

ROOT = Path(__file__).parents[1]
NUMBER = r"-?\d+\.\d+"
Place = tuple[str, str]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return replace(load(ROOT / "params.yaml"), arch="narrow", scale="smoke", seed=1234)


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


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_says_its_score(settings: Settings, name: str) -> None:
    plot = made_plot(settings, name)
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
def test_t_marks_the_trained_cells_and_hatching_those_without_a_number(settings: Settings, name: str) -> None:
    plot = made_plot(settings, name)
    (axes,) = main_axes(draw_matrix(plot))
    models = [model for model in settings.finetunes if matrix_of(model) == ("ftwb1" if name == "ftwb1" else "ftwb2")]
    trained = {(model, task) for model in models for task in settings.finetunes[model]}
    assert set(texts(axes, plot, "T")) == trained
    assert len(trained) == (7 if name == "ftwb1" else 12)
    without = {(model, "angle") for model in models}
    assert hatched(axes, plot) == without | (set() if name == "ftwb1" else {("ftwb2-9", "inside")})


@pytest.mark.parametrize("name", NAMES)
def test_the_coloured_table_holds_the_scores(settings: Settings, name: str) -> None:
    plot = made_plot(settings, name)
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
def test_rows_and_columns_follow_params(settings: Settings, name: str) -> None:
    (axes,) = main_axes(draw_matrix(made_plot(settings, name)))
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert [label.split("\n")[0] for label in columns] == list(settings.tasks)
    assert all(("(const 0.38)" in label) is (name != DIFFERENCE) for label in columns)
    rows = [label.get_text().split() for label in axes.get_yticklabels()]
    models = [model for model in settings.finetunes if matrix_of(model) == ("ftwb1" if name == "ftwb1" else "ftwb2")]
    assert [row[0] for row in rows] == [model.split("-")[1] for model in models]
    assert [[word for word in row[1:] if word != "+"] for row in rows] == [list(settings.finetunes[m]) for m in models]
    assert list(axes.get_xticks()) == list(range(7))
    assert list(axes.get_yticks()) == list(range(len(models)))
    top, bottom = axes.get_ylim()[::-1]
    assert top < bottom  # the first row is the uppermost


def test_the_published_order_of_pairs(settings: Settings) -> None:
    assert [label.split()[0] for label in made_plot(settings, "ftwb2").rows.values()] == [
        "4",
        "13",
        "15",
        "2",
        "9",
        "12",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_colours_and_their_limits(settings: Settings, name: str) -> None:
    figure = draw_matrix(made_plot(settings, name))
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
def test_an_unfinished_matrix_keeps_its_scale(settings: Settings, name: str, missing: str) -> None:
    """A half-finished study may have no difference at all; its picture is one of differences all the same."""
    gone = [m for m in settings.finetunes if matrix_of(m) == ("ftwb1" if name == "ftwb1" else "ftwb2")]
    plot = made_plot(settings, name, frozenset(gone[1:] if missing == "some" else gone))
    figure = draw_matrix(plot)
    (axes,) = main_axes(figure)
    assert axes.images[0].get_clim() == ((-0.5, 0.5) if name == DIFFERENCE else (0.0, 1.0))
    assert axes.images[0].cmap.name == ("RdBu" if name == DIFFERENCE else "RdYlGn")


@pytest.mark.parametrize("name", NAMES)
def test_the_title_says_which_study_and_the_caption_its_statistics(settings: Settings, name: str) -> None:
    (axes,) = main_axes(draw_matrix(made_plot(settings, name)))
    title = axes.get_title(loc="left")
    for part in ("narrow", "smoke", "1234", "FTWB1" if name == "ftwb1" else "FTWB2"):
        assert part in title
    (caption,) = (text.get_text() for text in axes.texts if "\n" in text.get_text())
    for part in ("trained 0.51 ± 0.03", "transfer 0.51 ± 0.03", "0.26", "36 of 4"):
        assert part in caption
    assert ("overall 0.51 ± 0.03" in caption) is (name == DIFFERENCE)


def test_statistics_that_are_not_measurable_are_said_to_be_so(settings: Settings) -> None:
    values = {**statistics("ftwb1"), "transfer": None, "transfer_std": None, "transfer_se": None, "trained_se": None}
    caption = matrix_plot(settings, "ftwb1", [], values).caption
    assert "trained 0.51 ± n.m." in caption
    assert "None" not in caption
    assert "nan" not in caption
    columns = matrix_plot(settings, "ftwb1", [], values).columns
    assert columns["distance"] == "distance\n(const n.m.)"


def test_missing_models_are_marked_hatched_and_keep_their_rows(settings: Settings) -> None:
    plot = made_plot(settings, "ftwb2", frozenset({"ftwb2-13", "ftwb2-12", "ftwb1-1"}))
    (axes,) = main_axes(draw_matrix(plot))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == 6
    assert [label.split()[0] for label in labels if "(missing)" in label] == ["13", "12"]
    rows = {(model, task) for model in ("ftwb2-13", "ftwb2-12") for task in settings.tasks}
    assert rows <= hatched(axes, plot)
    assert not rows & set(texts(axes, plot, NUMBER))
    assert len(texts(axes, plot, NUMBER)) == 4 * 7 - 4 - 1


def test_ink_is_readable_on_every_colour(settings: Settings) -> None:
    """Contrast of at least 3 : 1 (WCAG 2, large text) between a score and its cell."""

    def luminance(color: Any) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    from matplotlib.colors import to_rgb

    for name in NAMES:
        values = iter(np.resize(np.linspace(-0.6, 1.1, 91), 1000))
        plot = matrix_plot(settings, name, make_cells(settings, lambda *_: float(next(values))), statistics(name))  # noqa: B023
        (axes,) = main_axes(draw_matrix(plot))
        image = axes.images[0]
        table = np.asarray(image.get_array())
        for text in axes.texts:
            if re.fullmatch(NUMBER, text.get_text()):
                x, y = text.get_position()
                pair = luminance(image.cmap(image.norm(table[round(y), round(x)]))), luminance(to_rgb(text.get_color()))
                assert (max(pair) + 0.05) / (min(pair) + 0.05) >= 3


def test_the_overview_has_the_matrices_in_order(settings: Settings) -> None:
    plots = [made_plot(settings, name) for name in NAMES]
    drawn = main_axes(draw_overview(plots))
    assert [axes.get_title(loc="left") for axes in drawn] == [plot.title for plot in plots]
    for axes, plot in zip(drawn, plots, strict=True):
        (alone,) = main_axes(draw_matrix(plot))
        assert [text.get_text() for text in axes.texts] == [text.get_text() for text in alone.texts]
        assert axes.images[0].get_clim() == alone.images[0].get_clim()
