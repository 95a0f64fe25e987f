"""The figures of one study: what its matrices say, the same bytes every time; training curves and the map.

pytest tests/test_figures.py
"""

import itertools
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fake_plots import (
    NAMES,
    Seen,
    caption,
    column_labels,
    make_cells,
    no_labels_overlap,
    nothing_is_cut,
    panels,
    read,
    row_labels,
    statistics,
    varied,
)
from worldwidth.core.text import MINUS
from worldwidth.core.text import score as score_text
from worldwidth.data.cities import City
from worldwidth.data.regions import REGIONS
from worldwidth.evaluation.scores import DIFFERENCE, matrix_of
from worldwidth.plots.heatmap import SCORE, SIGNED, Mark, Panel, draw_panels
from worldwidth.plots.study import draw_matrix, draw_setting, draw_study, draw_training, draw_world
from worldwidth.plots.style import PAGE
from worldwidth.plots.svg import inline_svg
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return replace(load(ROOT / "params.yaml"), arch="narrow", scale="smoke", seed=1234)


def drawn(settings: Settings, name: str, missing: frozenset[str] = frozenset()) -> Figure:
    cells = [cell for cell in make_cells(settings, varied) if cell.model not in missing]
    return draw_matrix(settings, name, cells, {name: statistics(name)}, missing)


def number_of(cell: Seen) -> float:
    return float(cell.text.replace(MINUS, "-"))


def rows_of(settings: Settings, name: str) -> list[str]:
    """Those of the matrix; below the first two the plug-in of all tasks and the control."""
    matrix, below = "ftwb2" if name == DIFFERENCE else name, {"plug1": "plug7", "ftwb1": "ftwb0"}.get(name)
    return [model for of in (matrix, below) for model in settings.finetunes if matrix_of(model) == of]


# --- matrices


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_says_its_score(settings: Settings, name: str) -> None:
    """Unclipped, with its standard error; T where the task was trained, hatched without a score."""
    (axes,) = panels(drawn(settings, name))
    scale, expected = (SIGNED if name == DIFFERENCE else SCORE), {}
    for (row, model), (column, task) in itertools.product(
        enumerate(rows_of(settings, name)), enumerate(settings.tasks)
    ):
        score, trained = (
            varied(matrix_of(model) if name != DIFFERENCE else name, model, task),
            task in settings.finetunes[model],
        )
        text = score_text(score) if score is not None else ""
        expected[row, column] = Seen(text, "±0.04" if text else "", trained, hatched=not text)
    found = read(axes)
    assert {place: replace(cell, color=None) for place, cell in found.items()} == expected
    assert sum(cell.trained for cell in found.values()) == {"plug1": 7 + 7, "ftwb1": 7}.get(name, 12)
    for cell in found.values():
        if cell.text:
            assert np.allclose(cell.color[:3], scale.color(number_of(cell)), atol=0.05)
    assert min(number_of(cell) for cell in found.values() if cell.text) < scale.low


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_columns_follow_params(settings: Settings, name: str) -> None:
    (axes,) = panels(drawn(settings, name))
    assert [label.split("\n")[0] for label in column_labels(axes)] == list(settings.tasks)
    assert all(("(const 0.38)" in label) is (name != DIFFERENCE) for label in column_labels(axes))
    rows = [label.split() for label in row_labels(axes)]
    models = rows_of(settings, name)
    assert [row[0] for row in rows] == [model.split("-")[1] for model in models]
    trained = [settings.finetunes[model] or ("no", "task") for model in models]
    trained = [tasks if len(tasks) < 5 else ("all", str(len(tasks)), "tasks") for tasks in trained]
    assert [tuple(word for word in row[1:] if word != "+") for row in rows] == trained
    assert (trained[-1] == ("no", "task")) is (name == "ftwb1")
    assert (trained[-1] == ("all", "7", "tasks")) is (name == "plug1")
    if name == "ftwb2":  # the published order
        assert [row[0] for row in rows] == ["4", "13", "15", "2", "9", "12"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("missing", ["some", "all"])
def test_an_unfinished_matrix_is_hatched_and_keeps_its_rows_and_scale(
    settings: Settings, name: str, missing: str
) -> None:
    models = rows_of(settings, name)
    gone = frozenset(models[1:] if missing == "some" else models)
    figure = drawn(settings, name, missing=gone)
    axes, bar = figure.axes
    assert [label.endswith("(missing)") for label in row_labels(axes)] == [model in gone for model in models]
    hatched = {models[row] for (row, _), cell in read(axes).items() if not cell.hatched}
    assert hatched == set(models) - gone
    assert bar.get_ylabel() == ("gain" if name == DIFFERENCE else "normalised improvement")
    assert bar.get_ylim() == ((-0.5, 0.5) if name == DIFFERENCE else (0.0, 1.0))


@pytest.mark.parametrize("name", NAMES)
def test_the_title_says_which_study_and_the_caption_its_statistics(settings: Settings, name: str) -> None:
    figure = drawn(settings, name)
    for part in ("narrow", "smoke", "1234", {"plug1": "PLUG-IN", "ftwb1": "FTWB1"}.get(name, "FTWB2")):
        assert part in figure.get_suptitle()
    for part in ("trained 0.51 ± 0.03", "transfer 0.51 ± 0.03", "0.26", "36 of 4", "T: trained; hatched"):
        assert part in caption(figure)
    assert ("overall 0.51 ± 0.03" in caption(figure)) is (name == DIFFERENCE)
    assert ("const: the best constant answer" in caption(figure)) is (name != DIFFERENCE)
    assert ("Gain: score minus expected" in caption(figure)) is (name == DIFFERENCE)
    assert ("no task: the control" in caption(figure)) is (name == "ftwb1")
    assert ("transfer minus control 0.51 ± 0.03" in caption(figure)) is (name in ("ftwb1", "ftwb2"))
    assert ("PLUG-IN: the base model is frozen" in caption(figure)) is (name == "plug1")


def test_statistics_that_are_not_measurable_are_said_to_be_so(settings: Settings) -> None:
    values = {**statistics("ftwb1"), "trained_se": None}
    values |= dict.fromkeys(key for key in values if key.startswith("transfer"))
    figure = draw_matrix(settings, "ftwb1", [], {"ftwb1": values})
    assert "trained 0.51 ± n.m." in caption(figure)
    assert not any(word in caption(figure) for word in ("None", "nan", "transfer"))
    assert column_labels(figure.axes[0])[0] == "distance\n(const n.m.)"


@pytest.mark.parametrize(
    ("models", "names", "rows"),
    [
        (("ftwb0-0",), ["ftwb0"], ["no task"]),
        (("ftwb0-0", "ftwb2-4"), ["ftwb2", DIFFERENCE], ["crossing\n+ distance", "no task"]),
        (("ftwb1-1", "ftwb0-0", "ftwb2-4"), ["ftwb1", "ftwb2", DIFFERENCE], ["distance", "no task"]),
        (("ftwb1-1",), ["ftwb1"], ["distance"]),
    ],
)
def test_the_control_is_the_last_row_of_the_first_matrix(
    settings: Settings, tmp_path: Path, models: tuple[str, ...], names: list[str], rows: list[str]
) -> None:
    """It has a figure of its own only where nothing else has one."""
    chosen = replace(settings, finetunes={model: settings.finetunes[model] for model in models})
    files = draw_study(chosen, make_cells(chosen, varied), {}, tmp_path)
    assert [path.stem for path in files] == names
    first, *others = (panels(drawn(chosen, name))[0] for name in names)
    assert [label.split("  ")[1] for label in row_labels(first)] == rows
    assert not any("no task" in label for axes in others for label in row_labels(axes))
    assert all(cell.text or cell.hatched for cell in read(first).values())
    control = [cell for (row, _), cell in read(first).items() if rows[row] == "no task"]
    assert not any(cell.trained for cell in control)
    assert any(cell.text for cell in control) is ("ftwb0-0" in models)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("crowded", [False, True])
def test_layout(settings: Settings, name: str, crowded: bool) -> None:
    """Also with thirteen fine-tunes of the longest names, some of them missing."""
    missing = frozenset({"ftwb2-13", "ftwb1-2", "plug1-2"})
    if crowded:
        pairs = sorted(itertools.combinations(settings.tasks, 2), key=lambda pair: -len("".join(pair)))[:13]
        settings = replace(settings, finetunes={f"ftwb2-{99 - i}": pair for i, pair in enumerate(pairs)})
        missing = frozenset({"ftwb2-99", "ftwb2-95"})
    if not crowded or name in ("ftwb2", DIFFERENCE):
        with plt.style.context("default"):
            figure = drawn(settings, name, missing=missing)
            nothing_is_cut(figure)
            no_labels_overlap(figure)
        assert figure.get_figwidth() == pytest.approx(PAGE / 72, rel=0.02)


# --- files


def size_of(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_the_study_is_drawn_to_the_same_bytes_every_time(settings: Settings, tmp_path: Path) -> None:
    cells, headline = make_cells(settings, varied), {name: statistics(name) for name in NAMES}
    once = draw_study(settings, cells, headline, tmp_path / "once")
    with plt.rc_context({"font.size": 20, "figure.dpi": 40}):  # whatever a user's matplotlibrc says
        again = draw_study(settings, cells, headline, tmp_path / "again")
    assert [path.name for path in once] == [f"{name}.png" for name in NAMES]
    assert sorted((tmp_path / "once").iterdir()) == sorted(once)
    for first, second in zip(once, again, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
        width, height = size_of(first)
        assert 2000 <= width <= 2150  # 7 inches of 300 dots
        assert 800 <= height <= 1400
    assert sum(path.stat().st_size for path in once) < 2_000_000  # they live in git
    assert not plt.get_fignums()


# --- training curves and the map


def made_curves(settings: Settings) -> pd.DataFrame:
    rows = [
        {"step": step, "tokens": 1000 * step, "loss": 5 / step, "validation_loss": None, "model": model}
        for model in settings.models
        for step in (1, 10, 100)
    ]
    return pd.DataFrame(rows)


def made_cities() -> list[City]:
    place: dict[str, Any] = {"country_code": "XX", "population": 1}
    return [
        City(
            geonameid=i,
            name=f"City {i}",
            region=region,
            x=10 * i - 90,
            y=i**2 - 100,
            city_id=i,
            is_atlantis=region == "Atlantis",
            **place,
        )
        for i, region in enumerate([*REGIONS, "Other"])
    ]


def test_training_curves_are_drawn_from_the_table(settings: Settings) -> None:
    figure = draw_training(settings, made_curves(settings))
    base, plug_ins, one, two = figure.axes
    assert [line.get_label() for line in base.lines] == ["base model"]
    assert [line.get_label() for line in plug_ins.lines][:2] == ["distance", "trianglearea"]
    assert plug_ins.lines[-1].get_label() == "all 7 tasks"
    assert [line.get_label() for line in one.lines] == [*settings.tasks, "no task"]
    assert two.lines[0].get_label() == "crossing + distance"
    assert [axes.get_title() for axes in figure.axes] == ["pre-training", "PLUG-IN", "FTWB1", "FTWB2"]
    for line in (line for axes in figure.axes for line in axes.lines):
        assert np.asarray(line.get_xdata()).tolist() == [1000, 10_000, 100_000]
        assert np.asarray(line.get_ydata()).tolist() == [5, 0.5, 0.05]
    for axes in figure.axes[1:]:
        looks = {(line.get_color(), str(line.get_linestyle())) for line in axes.lines}
        assert len(looks) == len(axes.lines) > 5
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == [str(line.get_label()) for line in axes.lines]
    assert sum(len(axes.lines) for axes in figure.axes[1:]) == len(settings.finetunes)
    nothing_is_cut(figure)


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
    assert max(colors[list(REGIONS).index("Atlantis")][:3]) < 0.2
    nothing_is_cut(figure)


def test_setting_files(settings: Settings, tmp_path: Path) -> None:
    once, again = (
        draw_setting(settings, made_curves(settings), made_cities(), tmp_path / name) for name in ("once", "again")
    )
    assert [path.name for path in once] == ["training.png", "world.png"]
    for first, second in zip(once, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert 1950 <= size_of(first)[0] <= 2150


# --- what a user has set


def draw_all(folder: Path) -> None:
    """Every figure of a study, and a panel of the report."""
    settings = replace(load(ROOT / "params.yaml"), arch="narrow", scale="smoke", seed=1234)
    headline = {name: statistics(name) for name in NAMES}
    draw_study(settings, make_cells(settings, varied), headline, folder)
    draw_setting(settings, made_curves(settings), made_cities(), folder)
    panel = Panel(("row",), ("column",), ((Mark(0.5),),), SCORE)
    (folder / "panel.svg").write_text(inline_svg(draw_panels([[panel]]), "one", "a"), "utf-8")


def test_what_a_user_has_set_changes_no_figure(tmp_path: Path) -> None:
    """A notebook's backend, a matplotlibrc in the three places where matplotlib looks for one."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, tmp_path / "matplotlib"):
        folder.mkdir()
        (folder / "matplotlibrc").write_text(
            "text.usetex: True\naxes.linewidth: 9\nsvg.fonttype: path\ntimezone: XXX\n"
        )
    code = "import sys, pathlib, worldwidth.plots.study, test_figures; test_figures.draw_all(pathlib.Path(sys.argv[1]))"
    of_a_user = {"MPLBACKEND": "module://no.such.backend", "MATPLOTLIBRC": str(here), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, there],
        cwd=here,
        env=os.environ | of_a_user | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests")))},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    draw_all(tmp_path / "clean")
    names = sorted(path.name for path in (tmp_path / "clean").iterdir())
    assert names == sorted(path.name for path in there.iterdir())
    assert [name for name in names if (there / name).read_bytes() != (tmp_path / "clean" / name).read_bytes()] == []
