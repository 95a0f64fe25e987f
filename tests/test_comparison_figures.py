"""The figures of the comparison of widths: what they say, against the tables they are drawn from.

pytest tests/test_comparison_figures.py
"""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray
from worldwidth.plots.figures import save_figure

from fake_runs import fake_runs
from worldwidth.comparison.runs import RunScores
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.core.errors import WorldwidthError
from worldwidth.plots import widths
from worldwidth.plots.lines import apart, draw_curves, draw_scores
from worldwidth.plots.widths import draw_comparison_figures, draw_difference, draw_matrices, draw_retention
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
NUMBER = r"-?\d+\.\d\d"
BLOCKS = ("ftwb1", "ftwb2", "difference")
Cells = dict[tuple[str, str], str]
"""(model, task) -> a text."""


@pytest.fixture(autouse=True)
def no_figure_is_kept() -> Iterator[None]:
    """None of the figures is registered with pyplot, so that nobody need close one."""
    yield
    assert not plt.get_fignums()


@pytest.fixture(scope="module")
def small() -> Settings:
    """Three tasks, five fine-tunes."""
    finetunes: dict[str, tuple[str, ...]] = {
        "ftwb1-1": ("distance",),
        "ftwb1-5": ("inside",),
        "ftwb1-7": ("crossing",),
        "ftwb2-4": ("crossing", "distance"),
        "ftwb2-12": ("crossing", "inside"),
    }
    return replace(load(ROOT / "params.yaml"), tasks=("distance", "inside", "crossing"), finetunes=finetunes)


def damaged(runs: list[RunScores]) -> list[RunScores]:
    """Not measurable: a cell of every run, one of seed 1; a model that wide lacks; scores beyond what is shown."""
    for run in runs:
        run.cells["ftwb1", "ftwb1-5", "distance"] *= np.nan
        if run.seed == 1:
            run.cells["ftwb2", "ftwb2-12", "distance"] *= np.nan
        run.cells["ftwb1", "ftwb1-1", "inside"] -= 3
        run.cells["ftwb1", "ftwb1-1", "distance"] += 3
        if run.arch == "wide":
            for key in [key for key in run.cells if key[1] == "ftwb2-4"]:
                del run.cells[key]
    return runs


@pytest.fixture(scope="module")
def comparison(small: Settings) -> Comparison:
    """Three widths and three seeds under their own epochs; two widths and one seed under equal FLOPs."""
    epochs = fake_runs(small, archs=("narrow", "wide", "wider"))
    return compare(damaged(epochs + fake_runs(small, archs=("narrow", "wide"), seeds=(2,), budgets=("flops",))))


@pytest.fixture(scope="module")
def one_seed(small: Settings) -> Comparison:
    return compare(fake_runs(small, archs=("narrow", "wide"), seeds=(42,)))


@pytest.fixture(scope="module")
def one_width(small: Settings) -> Comparison:
    return compare(fake_runs(small, archs=("wide",)))


# --- reading a figure


def matrices(figure: Figure) -> list[Axes]:
    """The axes that hold cells, row by row."""
    return [axes for axes in figure.axes if any(isinstance(c, PatchCollection) for c in axes.collections)]


def cell_texts(axes: Axes, settings: Settings, models: list[str], pattern: str) -> Cells:
    """The texts inside the cells that match ``pattern``."""
    found: Cells = {}
    for text in axes.texts:
        if re.fullmatch(pattern, text.get_text()):
            column, row = (round(at) for at in text.get_position())
            key = models[row], settings.tasks[column]
            assert key not in found
            found[key] = text.get_text()
    return found


def boxes(axes: Axes, settings: Settings, models: list[str], which: str) -> set[tuple[str, str]]:
    """Cells that are "hatched" or "outlined"."""
    found = set()
    for patch in axes.patches:
        assert isinstance(patch, Rectangle)
        if bool(patch.get_hatch()) == (which == "hatched"):
            x, y = patch.get_center()
            found.add((models[round(y)], settings.tasks[round(x)]))
    return found


def models_of(settings: Settings, block: str) -> list[str]:
    return [m for m in settings.finetunes if m.startswith("ftwb2" if block == "difference" else block)]


def caption(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def rounded(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00")


def by_cell(table: pd.DataFrame, column: str, **where: str) -> dict[tuple[str, str], float]:
    """(model, task) -> a column of the rows with a number."""
    for name, value in where.items():
        table = table[table[name] == value]
    rows = table[table["n"] > 0]
    return dict(zip(zip(rows["model"], rows["task"], strict=True), rows[column].astype(float), strict=True))


# --- widths side by side


@pytest.mark.parametrize("budget", ["epochs", "flops"])
def test_matrices_show_the_means_of_the_table(comparison: Comparison, budget: str) -> None:
    settings, figure = comparison.settings, draw_matrices(comparison, budget)
    archs = ["narrow", "wide", "wider"] if budget == "epochs" else ["narrow", "wide"]
    panels = matrices(figure)
    assert len(panels) == 3 * len(archs)
    for (block, arch), axes in zip(itertools.product(BLOCKS, archs), panels, strict=True):
        models = models_of(settings, block)
        means = by_cell(comparison.cells, "mean", budget=budget, arch=arch, matrix=block)
        clip = (-np.inf, np.inf) if block == "difference" else (0, 1.5)
        texts = cell_texts(axes, settings, models, NUMBER)
        assert texts == {key: rounded(np.clip(mean, *clip)) for key, mean in means.items()}
        assert boxes(axes, settings, models, "hatched") == {*itertools.product(models, settings.tasks)} - means.keys()
        marks = cell_texts(axes, settings, models, "T").keys()
        assert marks == {(model, task) for model in models for task in settings.finetunes[model]}
    first = cell_texts(panels[0], settings, models_of(settings, "ftwb1"), NUMBER)
    assert (first["ftwb1-1", "inside"], first["ftwb1-1", "distance"]) == ("0.00", "1.50")


def test_a_cell_without_all_seeds_says_so(comparison: Comparison, one_width: Comparison) -> None:
    figure = draw_matrices(comparison, "epochs")
    for axes in matrices(figure)[3:6]:
        assert cell_texts(axes, comparison.settings, ["ftwb2-4", "ftwb2-12"], "n=.*") == {
            ("ftwb2-12", "distance"): "n=2"
        }
    assert "n=2: over those that have a number" in caption(figure)
    assert "n=" not in caption(draw_matrices(one_width, "epochs"))


def test_retention_is_shown_for_all_finetunes(comparison: Comparison) -> None:
    settings, figure = comparison.settings, draw_retention(comparison, "epochs")
    found: dict[str, Cells] = {arch: {} for arch in comparison.archs}
    for (block, arch), axes in zip(itertools.product(BLOCKS[:2], comparison.archs), matrices(figure), strict=True):
        found[arch] |= cell_texts(axes, settings, models_of(settings, block), NUMBER)
    for arch, texts in found.items():
        means = by_cell(comparison.cells, "mean", budget="epochs", arch=arch, matrix="retention")
        assert texts == {key: rounded(mean) for key, mean in means.items()}
    assert len(found["narrow"]) == 15
    assert len(found["wide"]) == 12  # a model is missing there
    assert len(figure.axes) == 2 * 3 + 1  # one colour bar


def test_widths_share_one_colour_scale(comparison: Comparison) -> None:
    def scales(axes: list[Axes]) -> set[tuple[object, object, str]]:
        cells = [c for one in axes for c in one.collections if isinstance(c, PatchCollection)]
        assert len(cells) == len(axes)
        return {(c.norm.vmin, c.norm.vmax, c.get_cmap().name) for c in cells}

    panels = matrices(draw_matrices(comparison, "epochs"))
    assert scales(panels[:6]) == {(0.0, 1.0, "RdYlGn")}
    assert scales(panels[6:]) == {(-0.5, 0.5, "RdBu")}
    assert scales(matrices(draw_retention(comparison, "epochs"))) == {(0.0, 1.0, "RdYlGn")}
    assert scales(matrices(draw_difference(comparison, "epochs", "narrow", "wider"))) == {(-0.5, 0.5, "RdBu")}


def test_colours_are_the_values(comparison: Comparison) -> None:
    """Cells are coloured by what they say."""
    for axes in matrices(draw_matrices(comparison, "epochs")):
        (cells,) = axes.collections
        numbers = [float(text.get_text()) for text in axes.texts if re.fullmatch(NUMBER, text.get_text())]
        np.testing.assert_allclose(np.asarray(cells.get_array()), numbers, atol=0.005001)


def test_columns_and_rows_are_named_once(comparison: Comparison) -> None:
    panels = matrices(draw_matrices(comparison, "epochs"))
    tasks = list(comparison.settings.tasks)
    for i, axes in enumerate(panels):
        assert [label.get_text() for label in axes.get_xticklabels()] == (tasks if i < 3 else [])
        assert bool(axes.get_yticklabels()) == (i % 3 == 0)
    assert [axes.get_title() for axes in panels[:3]] == ["narrow", "wide", "wider"]
    sizes = comparison.runs.drop_duplicates("arch")["parameters"]
    assert [axes.get_xlabel() for axes in panels[:3]] == [f"3 seeds\n{size:,} parameters" for size in sizes]
    assert [label.get_text() for label in panels[3].get_yticklabels()] == ["crossing\n+ distance", "crossing\n+ inside"]


# --- one width minus another


def test_a_difference_shows_mean_and_interval(comparison: Comparison) -> None:
    settings, figure = comparison.settings, draw_difference(comparison, "epochs", "narrow", "wider")
    tested = outlined = 0
    for block, axes in zip(BLOCKS, matrices(figure), strict=True):
        models = models_of(settings, block)
        means, lows, highs = (
            by_cell(comparison.cell_differences, column, budget="epochs", arch="narrow", other="wider", matrix=block)
            for column in ("mean", "low", "high")
        )
        halves = {key: f"±{(highs[key] - lows[key]) / 2:.2f}" for key in means}
        away = {key for key in means if lows[key] > 0 or highs[key] < 0}
        assert cell_texts(axes, settings, models, NUMBER) == {key: rounded(mean) for key, mean in means.items()}
        assert cell_texts(axes, settings, models, f"±{NUMBER}") == halves
        assert boxes(axes, settings, models, "outlined") == away
        assert boxes(axes, settings, models, "hatched") == {*itertools.product(models, settings.tasks)} - means.keys()
        tested, outlined = tested + len(halves), outlined + len(away)
    assert 0 < outlined < tested
    assert f"{outlined} of {tested}; not adjusted" in caption(figure)
    assert f"by chance alone about {0.05 * tested:.0f} would be" in caption(figure)
    assert "2 to 3 seeds" in caption(figure)


def test_a_difference_of_one_seed_has_no_interval(one_seed: Comparison) -> None:
    figure = draw_difference(one_seed, "epochs", "narrow", "wide")
    for block, axes in zip(BLOCKS, matrices(figure), strict=True):
        models = models_of(one_seed.settings, block)
        below = cell_texts(axes, one_seed.settings, models, r"(n=|±).*")
        assert below == dict.fromkeys(itertools.product(models, one_seed.settings.tasks), "n=1")
        assert not axes.patches
    assert "an interval needs two seeds" in caption(figure)


def test_equal_seeds_are_not_outlined(one_seed: Comparison) -> None:
    """No spread over seeds: nothing is told, as in the tables' verdicts."""
    table = one_seed.cell_differences.assign(n=2, mean=0.3, low=0.3, high=0.3)
    figure = draw_difference(replace(one_seed, cell_differences=table), "epochs", "narrow", "wide")
    assert not any(axes.patches for axes in matrices(figure))


def test_what_is_not_there_is_an_error(comparison: Comparison, one_width: Comparison) -> None:
    for budget, arch, other in (
        ("flops", "narrow", "wider"),
        ("epochs", "wider", "narrow"),
        ("tokens", "narrow", "wide"),
    ):
        with pytest.raises(WorldwidthError, match=f"budget {budget} has no runs of {arch} and {other}"):
            draw_difference(comparison, budget, arch, other)
    with pytest.raises(WorldwidthError, match="no runs of narrow and wide"):
        draw_difference(one_width, "epochs", "narrow", "wide")
    with pytest.raises(WorldwidthError, match="no run has the budget tokens; there are: epochs, flops"):
        draw_matrices(comparison, "tokens")


# --- headline metrics


def metric_panels(figure: Figure) -> list[tuple[str, Axes, Axes]]:
    """The label, the panel over parameters and the one over FLOPs of every metric."""
    shown = [axes for axes in figure.axes if axes.get_visible()]
    above = [axes for axes in shown if axes.get_xlabel() == "parameters"]
    below = [axes for axes in shown if axes.get_xlabel() == "pre-training FLOPs"]
    assert len(shown) == len(above) + len(below)
    return [(axes.get_title(), axes, other) for axes, other in zip(above, below, strict=True)]


def bars(axes: Axes) -> list[list[float]]:
    """(low, high) of all error bars."""
    lines = [c for c in axes.collections if isinstance(c, LineCollection)]
    ends = [segment[:, 1].tolist() for line in lines for segment in line.get_segments() if len(segment)]
    return [pair for pair in ends if np.isfinite(pair).all()]


def dots(axes: Axes) -> NDArray[np.float64]:
    """The heights of all points, means and single runs; without the ends of the bars."""
    lines = [line for line in axes.lines if line.get_marker() in ("o", "s", "^")]
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in lines])
    found: NDArray[np.float64] = values[np.isfinite(values)]
    return found


def test_error_bars_are_the_intervals(comparison: Comparison) -> None:
    panels = metric_panels(draw_scores(comparison))
    labels = {metric.label: name for name, metric in comparison.metrics.items()}
    names = [labels[label] for label, _, _ in panels]
    first = ["ftwb1_trained", "ftwb2_trained", "skill_trained"]
    assert names == [*first, "ftwb1_transfer", "ftwb2_transfer", "base_skill"]
    for name, (_, above, below) in zip(names, panels, strict=True):
        rows = comparison.widths[comparison.widths["metric"] == name]
        assert len(rows) == 5
        rows = rows[rows["n"] > 0]
        for axes in (above, below):
            np.testing.assert_allclose(bars(axes), rows[["low", "high"]].dropna().to_numpy(dtype=float))
            shown = [*rows["mean"], *comparison.runs[name].dropna()]
            np.testing.assert_allclose(np.sort(dots(axes)), np.sort(shown))
            low, high = axes.get_ylim()
            assert low < dots(axes).min() <= dots(axes).max() < high
        assert [label.get_text().split("\n")[0] for label in above.get_xticklabels()] == ["narrow", "wide", "wider"]
        assert [text.get_text() for text in below.texts] == ["narrow", "wide", "wider", "narrow", "wide"]


def test_the_caption_of_the_scores_says_what_a_bar_is(comparison: Comparison, one_seed: Comparison) -> None:
    figure = draw_scores(comparison)
    assert "means over 1 to 3 seeds; bars: 95 % interval" in caption(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["budget epochs", "budget flops"]
    figure = draw_scores(one_seed)
    assert "one seed each; an interval needs two seeds" in caption(figure)
    assert not any(bars(axes) for _, *both in metric_panels(figure) for axes in both)


def test_an_endless_interval_does_not_flatten_a_panel(comparison: Comparison, one_width: Comparison) -> None:
    wide = replace(comparison, widths=comparison.widths.assign(low=-40.0, high=40.0))
    figure = draw_scores(wide)
    for _, *both in metric_panels(figure):
        for axes in both:
            low, high = axes.get_ylim()
            assert -1 < low < high < 2.5
    assert "go on beyond it" in caption(figure)
    assert "go on beyond it" not in caption(draw_scores(one_width))


def test_points_stand_at_their_size(comparison: Comparison) -> None:
    """Each within a few percent of the axis, and no two on each other."""
    (_, above, below), *_ = metric_panels(draw_scores(comparison))
    for axes, size in ((above, "parameters"), (below, "flops")):
        runs = comparison.runs.drop_duplicates(["budget", "arch"])
        x = [container.lines[0].get_xdata() for container in axes.containers]  # type: ignore[attr-defined]
        found = np.concatenate([np.asarray(values, dtype=float) for values in x])
        np.testing.assert_allclose(np.log10(found), np.log10(runs[size].to_numpy(dtype=float)), atol=0.1)
        assert len({round(float(value), 6) for value in np.log10(found)}) == 5


def test_apart() -> None:
    values = np.array([1.0, 1.0, 3.0, 1.05, 9.0])
    moved = apart(values, 0.5)
    assert moved[2:4:2] == [3.0]
    assert moved[4] == 9.0
    assert np.diff(sorted(moved)).min() >= 0.5 - 1e-12
    assert moved[0] < moved[1] < moved[3]
    assert np.mean([moved[0], moved[1], moved[3]]) == pytest.approx(np.mean([1.0, 1.0, 1.05]))
    assert apart(np.array([2.0]), 0.5) == [2.0]


# --- pre-training curves


def test_curves_are_the_validation_losses(comparison: Comparison) -> None:
    figure = draw_curves(comparison)
    curves = comparison.curves.dropna(subset=["validation_loss"])
    for axes, size in zip(figure.axes, ("flops", "tokens"), strict=True):
        thin = [line for line in axes.lines if line.get_linewidth() < 1]
        thick = [line for line in axes.lines if line.get_linewidth() > 1]
        assert (len(thin), len(thick)) == (11, 5)
        runs = curves.groupby(["budget", "arch", "seed"], sort=False)
        for line, (_, run) in zip(thin, runs, strict=True):
            np.testing.assert_allclose(np.asarray(line.get_xdata(), dtype=float), run[size])
            np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), run["validation_loss"])
        for line, (_, of_place) in zip(thick, curves.groupby(["budget", "arch"], sort=False), strict=True):
            mean = of_place.groupby("step")["validation_loss"].mean()
            np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), mean)
        styles = {(str(line.get_color()), str(line.get_linestyle())) for line in thick}
        assert len(styles) == 5
        assert len({color for color, _ in styles}) == 3
    assert "single seeds (up to 3); thick: their mean" in caption(figure)


def test_curves_without_validation_are_the_training_losses(one_seed: Comparison) -> None:
    bare = replace(one_seed, curves=one_seed.curves.assign(validation_loss=np.nan))
    figure = draw_curves(bare)
    narrow = one_seed.curves.query("arch == 'narrow'")
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), narrow["loss"])
    assert caption(figure) == "Training loss; one seed a line."


# --- all figures


def all_figures(comparison: Comparison) -> list[Figure]:
    figures = [draw_scores(comparison), draw_curves(comparison)]
    figures += [draw_matrices(comparison, "epochs"), draw_retention(comparison, comparison.budgets[-1])]
    if len(comparison.archs) > 1:
        figures.append(draw_difference(comparison, "epochs", comparison.archs[0], comparison.archs[-1]))
    return figures


@pytest.mark.parametrize("name", ["comparison", "one_seed", "one_width"])
def test_no_text_is_cut_and_colours_can_be_replaced(request: pytest.FixtureRequest, name: str) -> None:
    """No background, and outside the coloured cells no text in another colour than the two."""
    for figure in all_figures(request.getfixturevalue(name)):
        figure.draw_without_rendering()
        assert to_rgba(figure.get_facecolor())[3] == 0
        assert all(to_rgba(axes.get_facecolor())[3] == 0 for axes in figure.axes if axes.get_label() != "<colorbar>")
        on_cells = {id(text) for axes in matrices(figure) for text in axes.texts}
        for text in shown_texts(figure):
            allowed = {"#1a1a1a", "#555555"} | ({"#010101", "#ffffff"} if id(text) in on_cells else set())
            assert to_hex(text.get_color()) in allowed, text
            box = text.get_window_extent()
            assert -1 <= box.x0 <= box.x1 <= figure.bbox.x1 + 1, text
            assert -1 <= box.y0 <= box.y1 <= figure.bbox.y1 + 1, text


def shown_texts(figure: Figure) -> list[Text]:
    """All texts but the labels of ticks outside their axis, which are not drawn."""
    hidden = {
        id(label)
        for axes in figure.axes
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not axes.get_visible() or not min(limits) <= tick.get_loc() <= max(limits)
    }
    found = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible() and text.get_text()]
    return [text for text in found if id(text) not in hidden]


def fits(figure: Figure) -> None:
    """Every text of a cell lies inside it, and none on another."""
    figure.draw_without_rendering()
    for axes in matrices(figure):
        inside: dict[tuple[int, int], list[Text]] = {}
        for text in axes.texts:
            if not text.get_text().startswith("FTWB"):
                column, row = (round(at) for at in text.get_position())
                inside.setdefault((column, row), []).append(text)
        for (column, row), texts in inside.items():
            corners = [(column - 0.5, row + 0.5), (column + 0.5, row - 0.5)]
            (x0, y0), (x1, y1) = axes.transData.transform(corners)
            for text in texts:
                box = text.get_window_extent()
                assert x0 <= box.x0 <= box.x1 <= x1, text
                assert y0 <= box.y0 <= box.y1 <= y1, text
            for one, two in itertools.combinations([text.get_window_extent() for text in texts], 2):
                assert min(one.y1, two.y1) - max(one.y0, two.y0) < 0.35 * min(one.height, two.height)


def test_four_widths_of_the_whole_study_fit_on_a_page() -> None:
    settings = load(ROOT / "params.yaml")
    whole = compare(fake_runs(settings, seeds=(1,)))
    signed = whole.cells.assign(mean=whole.cells["mean"].where(whole.cells["matrix"] != "difference", -0.28))
    figure = draw_matrices(replace(whole, cells=signed), "epochs")
    fits(figure)
    assert figure.get_figwidth() == pytest.approx(17 / 2.54, rel=0.01)
    table = whole.cell_differences.assign(n=3, mean=-0.28, low=-0.98, high=-0.08)
    figure = draw_difference(replace(whole, cell_differences=table), "epochs", "narrow", "wider")
    fits(figure)
    assert figure.get_figwidth() == pytest.approx(17 / 2.54, rel=0.01)


def test_names_of_the_files(comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widths, "save_figure", lambda name, draw, folder: folder / name)
    files = draw_comparison_figures(comparison, tmp_path, [("wide", "narrow"), ("wide", "wider"), ("wide", "none")])
    assert files == [
        tmp_path / name
        for name in (
            "matrices-epochs",
            "difference-epochs-narrow-wider",
            "difference-epochs-narrow-wide",
            "difference-epochs-wide-wider",
            "retention-epochs",
            "matrices-flops",
            "difference-flops-narrow-wide",
            "retention-flops",
            "scores",
            "curves",
        )
    ]


def test_files(one_seed: Comparison, tmp_path: Path) -> None:
    """The same bytes every time, whatever style the caller has set."""
    mine, earlier = tmp_path / "once" / "mine.png", tmp_path / "once" / "matrices-flops.png"
    mine.parent.mkdir()
    for path in (mine, earlier):  # the second is of a comparison that had another arm
        path.touch()
    files = draw_comparison_figures(one_seed, tmp_path / "once")
    names = ["matrices-epochs", "difference-epochs-narrow-wide", "retention-epochs", "scores", "curves"]
    assert [path.name for path in files] == [f"{name}.png" for name in names]
    assert sorted((tmp_path / "once").iterdir()) == sorted([*files, mine])
    assert not any(re.search(rb"Software|tIME|date:", path.read_bytes()) for path in files)
    with plt.rc_context({"font.size": 20, "figure.dpi": 40, "lines.linewidth": 9, "text.color": "red"}):
        again = [
            save_figure("difference", lambda: draw_difference(one_seed, "epochs", "narrow", "wide"), tmp_path),
            save_figure("scores", lambda: draw_scores(one_seed), tmp_path),
            save_figure("curves", lambda: draw_curves(one_seed), tmp_path),
        ]
    for first, second in zip((files[1], *files[3:]), again, strict=True):
        assert first.read_bytes() == second.read_bytes(), second.name


def test_figures_of_one_run(small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Figure] = {}

    def save(name: str, draw: Callable[[], Figure], folder: Path) -> Path:
        drawn[name] = draw()
        return folder / name

    monkeypatch.setattr(widths, "save_figure", save)
    run = compare(fake_runs(small, archs=("narrow",), seeds=(1,)))
    draw_comparison_figures(run, tmp_path, [("narrow", "wide")])
    assert list(drawn) == ["matrices-epochs", "retention-epochs", "scores", "curves"]
    assert "Numbers: one seed." in caption(drawn["matrices-epochs"])
