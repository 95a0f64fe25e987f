"""The one heat map: what a cell says, its colours and ink, who is named where, the bars; whatever style a user has.

pytest tests/test_heatmap.py
"""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure

from fake_plots import (
    Seen,
    cell_texts,
    column_labels,
    no_labels_overlap,
    nothing_is_cut,
    panels,
    read,
    row_labels,
    shown_texts,
)
from worldwidth.core.text import MINUS
from worldwidth.plots.heatmap import (
    SCORE,
    SIGNED,
    Mark,
    Panel,
    Scale,
    abreast,
    draw_panels,
    in_rows,
    score_scale,
    task_label,
)
from worldwidth.plots.style import PAGE, SMALL, STYLE, contrast, frame, save_figure
from worldwidth.settings.load import load
from worldwidth.settings.schema import COLOURS

MARKS = (
    (Mark(0.5, trained=True), Mark(-2.345, below="±0.04"), Mark()),
    (Mark(1.234, below="n=2", outlined=True), Mark(-0.001), Mark(123.456)),
)
PANEL = Panel(("distance", "compass\n+ angle"), ("one", "two", "three"), MARKS, SCORE)


def test_a_cell_says_what_it_is_given() -> None:
    """Numbers as they are, however far beyond the colours; 0 without a sign."""
    (axes,) = panels(draw_panels([[PANEL]]))
    found = {place: replace(cell, color=None) for place, cell in read(axes).items()}
    assert found == {
        (0, 0): Seen("0.50", trained=True),
        (0, 1): Seen(f"{MINUS}2.35", "±0.04"),
        (0, 2): Seen(hatched=True),
        (1, 0): Seen("1.23", "n=2", outlined=True),
        (1, 1): Seen("0.00"),
        (1, 2): Seen("123"),
    }
    assert row_labels(axes) == ["distance", "compass\n+ angle"]
    assert column_labels(axes) == ["one", "two", "three"]


@pytest.mark.parametrize("scale", [SCORE, SIGNED])
def test_colours_end_at_the_ends_of_the_scale(scale: Scale) -> None:
    values = np.array([scale.low - 3, scale.low, (scale.low + scale.high) / 2, scale.high, scale.high + 3])
    (axes,) = panels(draw_panels([[Panel(("a",), tuple("abcde"), (tuple(map(Mark, values)),), scale)]]))
    colors = [read(axes)[0, i].color[:3] for i in range(5)]
    assert colors == [scale.color(value) for value in values]
    below, low, middle, high, above = colors
    assert (below, above) == (low, high)
    assert low[0] > 2 * max(low[1:])  # red is worse
    assert min(middle[:2]) > 0.9
    assert max(high) == high[2 if scale is SIGNED else 1]  # blue, green is better
    assert high[0] < 0.3


@pytest.mark.parametrize("scale", [*(replace(SCORE, colors=name) for name in COLOURS), SIGNED])
def test_ink_is_readable_on_every_colour(scale: Scale) -> None:
    """Contrast of at least 4.5 : 1 (WCAG 2, AA), and of the better of black and white."""
    values = np.linspace(scale.low - 0.1, scale.high + 0.1, 60)
    (axes,) = panels(draw_panels([[Panel(("a",), tuple(map(str, values)), (tuple(map(Mark, values)),), scale)]]))
    for text in cell_texts(axes):
        color = scale.color(values[round(text.get_position()[0])])
        assert contrast(color, to_rgb(text.get_color())) >= 4.5
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert contrast((0.5, 0.2, 0.1), (0.5, 0.2, 0.1)) == 1


def test_names_are_said_once() -> None:
    """Rows where they differ from the left neighbour's, columns at the top; one bar for every scale."""
    other = replace(PANEL, rows=("x", "y"), scale=SIGNED)
    top = [replace(PANEL, title="first", note="3 seeds", corner="A"), PANEL, other]
    figure = draw_panels([top, [PANEL, PANEL, replace(other, scale=SCORE)]])
    found = panels(figure)
    assert [row_labels(axes) for axes in found] == [list(PANEL.rows), [], ["x", "y"]] * 2
    assert [column_labels(axes) for axes in found] == [["one", "two", "three"]] * 3 + [[]] * 3
    assert (found[0].get_title(), found[0].get_xlabel(), found[0].texts[-1].get_text()) == ("first", "3 seeds", "A")
    bars = [axes for axes in figure.axes if axes not in found]
    assert [bar.get_ylabel() for bar in bars] == [SCORE.label, SIGNED.label]
    assert [bar.get_ylim() for bar in bars] == [(0, 1), (-0.5, 0.5)]


def test_the_first_row_is_the_uppermost_and_short_panels_keep_their_cells() -> None:
    tall = Panel(("a", "b", "c"), ("one",), ((Mark(1),),) * 3, SCORE)
    found = panels(draw_panels([[tall, replace(tall, rows=("a",), marks=((Mark(1),),))]]))
    assert [axes.get_ylim() for axes in found] == [(2.5, -0.5)] * 2


@pytest.mark.parametrize(("columns", "rows", "beside"), [(3, 2, 1), (7, 7, 1), (7, 13, 2), (7, 6, 3)])
def test_texts_fit(columns: int, rows: int, beside: int) -> None:
    """Also those of numbers far off the scale, on the page that they are drawn for."""
    marks = [Mark(value, "±0.04", trained=True) for value in (-0.28, 0.5, -12.34)]
    shown = tuple(tuple(itertools.islice(itertools.cycle(marks), columns)) for _ in range(rows))
    names = tuple(f"task {i}\n(const 0.38)" for i in range(columns))
    labels = tuple(f"perimeter\n+ crossing {i}" for i in range(rows))
    panel = Panel(labels, names, shown, SCORE, title="FTWB1")
    with plt.style.context(STYLE):
        figure = draw_panels([[panel] * beside])
        frame(figure, "A title  " + 3 * "that is long ", ["A caption. " * 30, "Another."])
        nothing_is_cut(figure)
        no_labels_overlap(figure)
    assert 72 * figure.get_figwidth() <= PAGE + 1


def test_panels_stand_in_as_many_rows_as_their_numbers_need() -> None:
    assert [abreast(n, 7) for n in (1, 2, 3, 4, 5, 6, 7)] == [1, 2, 3, 2, 3, 3, 3]
    assert [len(row) for row in in_rows([PANEL] * 3)] == [2, 1]
    figure = draw_panels([[replace(PANEL, title="a"), replace(PANEL, title="b")], [replace(PANEL, title="c")]])
    found = panels(figure)
    assert [axes.get_title() for axes in found] == ["a", "b", "c"]
    assert [column_labels(axes) for axes in found] == [["one", "two", "three"]] * 3
    assert [row_labels(axes) for axes in found] == [list(PANEL.rows), [], list(PANEL.rows)]


def test_cells_too_slim_for_numbers_have_colours_alone() -> None:
    many = Panel(tuple(map(str, range(40))), tuple(map(str, range(40))), ((Mark(0.5, trained=True),) * 40,) * 40, SCORE)
    figure = draw_panels([[many]])
    (axes,) = panels(figure)
    assert not cell_texts(axes)
    assert 72 * figure.get_figwidth() <= PAGE + 1
    assert min(float(text.get_fontsize()) for text in shown_texts(figure)) >= SMALL


def test_colours_are_those_of_params() -> None:
    settings = replace(load(Path(__file__).parents[1] / "params.yaml"), colours="cividis")
    assert score_scale(settings).color(0.0)[2] > 0.3  # blue is low
    assert score_scale(settings).shades(3)[0][1] == "#ffffff"


def test_what_a_model_is_trained_on_takes_two_lines() -> None:
    assert [task_label(tuple("abc"[:n])) for n in (1, 2, 3)] == ["a", "a\n+ b", "a + b\n+ c"]


def test_a_file_is_the_same_whatever_style_a_user_has(tmp_path: Path) -> None:
    """And has no date and no version inside."""
    drawn = [save_figure("once", lambda: draw_panels([[PANEL]]), tmp_path)]
    with plt.rc_context(
        {"font.size": 20, "figure.dpi": 40, "hatch.linewidth": 9, "text.color": "red", "savefig.dpi": 7}
    ):
        drawn.append(save_figure("again", lambda: draw_panels([[PANEL]]), tmp_path))
    first, second = (path.read_bytes() for path in drawn)
    assert first == second
    assert not re.search(rb"Software|tIME|date:", first)
    assert not plt.get_fignums()


def test_a_failure_leaves_no_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "ftwb1.png"
    path.write_bytes(b"old")

    def fails() -> Figure:
        raise KeyError("cell")

    with pytest.raises(KeyError):
        save_figure("ftwb1", fails, tmp_path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_may_replace_the_colours() -> None:
    """No background, and outside the coloured cells no text in another colour than the two."""
    with plt.style.context(STYLE):
        figure = draw_panels([[replace(PANEL, title="title", note="note", corner="corner")]])
        frame(figure, "Title", ["Caption"])
    assert to_rgba(figure.get_facecolor())[3] == 0
    (axes,) = panels(figure)
    assert to_rgba(axes.get_facecolor())[3] == 0
    others = {to_hex(t.get_color()) for t in shown_texts(figure) if t not in cell_texts(axes)}
    assert others == {"#1a1a1a", "#555555"}
