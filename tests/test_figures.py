"""The figures as files: their layout, the same bytes every time; training curves and the map.

pytest tests/test_figures.py
"""

import itertools
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from worldwidth.plots.figures import draw_matrix, draw_overview, draw_training, draw_world, save_figure

from fake_plots import NAMES, made_plot, main_axes, make_cells, statistics, varied
from worldwidth.data.cities import City
from worldwidth.data.regions import REGIONS
from worldwidth.evaluation.scores import DIFFERENCE
from worldwidth.plots.study import draw_setting, draw_study
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

pytestmark = pytest.mark.usefixtures("closed_figures")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return replace(load(ROOT / "params.yaml"), arch="narrow", scale="smoke", seed=1234)


# --- layout, in the style that the files are drawn in


def crowded(settings: Settings) -> Settings:
    """Thirteen fine-tunes with the longest names."""
    pairs = sorted(itertools.combinations(settings.tasks, 2), key=lambda pair: -len("".join(pair)))[:13]
    finetunes: dict[str, tuple[str, ...]] = {f"ftwb2-{99 - i}": pair for i, pair in enumerate(pairs)}
    return replace(settings, finetunes=finetunes)


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
def test_layout_of_a_matrix(settings: Settings, tmp_path: Path, name: str) -> None:
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

    laid_out(lambda: draw_matrix(made_plot(settings, name)), tmp_path, look)


@pytest.mark.parametrize("name", ["ftwb2", DIFFERENCE])
def test_layout_with_thirteen_rows_of_the_longest_names(settings: Settings, tmp_path: Path, name: str) -> None:
    many = crowded(settings)
    missing = frozenset({"ftwb2-99", "ftwb2-87"})

    def look(figure: Figure) -> None:
        assert len(main_axes(figure)[0].get_yticklabels()) == 13
        no_text_is_cut(figure)
        no_label_overlaps(figure)

    laid_out(lambda: draw_matrix(made_plot(many, name, missing)), tmp_path, look)


def test_layout_of_the_overview(settings: Settings, tmp_path: Path) -> None:
    def look(figure: Figure) -> None:
        no_text_is_cut(figure)
        no_label_overlaps(figure)
        no_two_overlap([axes.get_tightbbox() for axes in main_axes(figure)])  # type: ignore[misc]

    laid_out(lambda: draw_overview([made_plot(settings, name) for name in NAMES]), tmp_path, look)


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


def test_the_study_is_drawn_to_the_same_bytes_every_time(settings: Settings, tmp_path: Path) -> None:
    cells = make_cells(settings, varied)
    headline = {name: statistics(name) for name in NAMES}
    once = draw_study(settings, cells, headline, tmp_path / "once")
    with plt.rc_context({"font.size": 20, "figure.dpi": 40}):  # whatever another figure left behind
        again = draw_study(settings, cells, headline, tmp_path / "again")
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


def test_a_failure_leaves_no_file_and_keeps_the_old_one(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "ftwb1.png"
    path.write_bytes(b"old")

    def fails() -> Figure:
        raise KeyError("cell")

    with pytest.raises(KeyError):
        save_figure("ftwb1", fails, tmp_path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# --- training curves and the map


def made_curves(settings: Settings) -> pd.DataFrame:
    rows = [
        {"step": step, "tokens": 1000 * step, "loss": 5 / step, "validation_loss": None, "model": model}
        for model in settings.models
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


def test_training_curves_are_drawn_from_the_table(settings: Settings) -> None:
    figure = draw_training(made_curves(settings), "Training loss")
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["base"]
    assert [line.get_label() for line in right.lines] == list(settings.finetunes)
    for line in (*left.lines, *right.lines):
        assert np.asarray(line.get_xdata()).tolist() == [1000, 10_000, 100_000]
        assert np.asarray(line.get_ydata()).tolist() == [5, 0.5, 0.05]
    assert len({line.get_color() for line in right.lines}) == 13
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(settings.finetunes)


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


def test_setting_files_and_layout(settings: Settings, tmp_path: Path) -> None:
    once = draw_setting(settings, made_curves(settings), made_cities(), tmp_path / "once")
    again = draw_setting(settings, made_curves(settings), made_cities(), tmp_path / "again")
    assert [path.name for path in once] == ["training.png", "world.png"]
    for first, second in zip(once, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
        width, height = size_of(first)
        assert 1000 <= width <= 2000
        assert 400 <= height <= 1200
    laid_out(lambda: draw_training(made_curves(settings), "Training loss"), tmp_path, no_text_is_cut)
    laid_out(lambda: draw_world(made_cities(), "The world"), tmp_path, no_text_is_cut)
