"""The figures of a comparison: what they say, against the tables they are drawn from.

pytest tests/test_comparison_figures.py
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fake_plots import Place, Seen, caption, column_labels, nothing_is_cut, panels, read, row_labels
from fake_runs import fake_runs
from worldwidth.comparison.runs import RunScores
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import MINUS, score
from worldwidth.plots import comparison as figures_of
from worldwidth.plots.comparison import (
    draw_comparison_figures,
    draw_difference,
    draw_matrices,
    draw_retention,
    draw_scores,
    missing_models,
)
from worldwidth.plots.divergence import draw_divergence, draw_givers
from worldwidth.plots.efficiency import draw_efficiency
from worldwidth.plots.heatmap import models_of
from worldwidth.plots.losses import draw_curves
from worldwidth.plots.patterns import draw_patterns
from worldwidth.plots.style import PAGE, arch_looks, save_figure
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
BLOCKS = ("ftwb1", "ftwb2", "difference")


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
        if run.settings.seed == 1:
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


def expected_cells(settings: Settings, block: str, table: pd.DataFrame, **where: str) -> dict[Place, Seen]:
    """What the cells of a block show of the rows of a table: the number, what is trained, what is hatched."""
    for name, value in where.items():
        table = table[table[name] == value]
    rows = table[table["n"] > 0].set_index(["model", "task"]).to_dict("index")
    found = {}
    for (r, model), (c, task) in itertools.product(enumerate(models_of(settings, block)), enumerate(settings.tasks)):
        row = rows.get((model, task))
        text = score(row["mean"]) if row else ""
        found[r, c] = Seen(text, trained=task in settings.finetunes[model], hatched=not row)
        if row and "other" in where:
            has_interval = np.isfinite(float(row["low"]))
            below = f"±{(row['high'] - row['low']) / 2:.2f}" if has_interval else f"n={row['n']}"
            away = has_interval and (row["low"] > 0 or row["high"] < 0)
            found[r, c] = replace(found[r, c], below=below, outlined=bool(away))
    return found


def cells(axes: Axes) -> dict[Place, Seen]:
    return {place: replace(cell, color=None) for place, cell in read(axes).items()}


# --- widths side by side


@pytest.mark.parametrize("budget", ["epochs", "flops"])
def test_matrices_show_the_means_of_the_table(comparison: Comparison, budget: str) -> None:
    """Unclipped; below them the number of seeds, where not all have the cell."""
    settings, figure = comparison.settings, draw_matrices(comparison, budget)
    archs = ["narrow", "wide", "wider"] if budget == "epochs" else ["narrow", "wide"]
    for (block, arch), axes in zip(itertools.product(BLOCKS, archs), panels(figure), strict=True):
        expected = expected_cells(settings, block, comparison.cells, arm=budget, level=arch, matrix=block)
        if (block, budget) == ("ftwb2", "epochs"):
            expected[1, 0] = replace(expected[1, 0], below="n=2")  # a cell that seed 1 cannot measure
        assert cells(axes) == expected
    first = cells(panels(figure)[0])
    assert float(first[0, 0].text) > 3
    assert float(first[0, 1].text.replace(MINUS, "-")) < -2
    assert ("n=2: over those that have a number" in caption(figure)) == (budget == "epochs")
    bars = [axes for axes in figure.axes if axes not in panels(figure)]
    assert [bar.get_ylabel() for bar in bars] == ["normalised improvement", "gain"]


def test_retention_is_shown_for_all_finetunes(comparison: Comparison) -> None:
    figure, places = draw_retention(comparison, "epochs"), itertools.product(BLOCKS[:2], comparison.archs)
    for (block, arch), axes in zip(places, panels(figure), strict=True):
        where = {"arm": "epochs", "level": arch, "matrix": "retention"}
        assert cells(axes) == expected_cells(comparison.settings, block, comparison.cells, **where)
    assert len(figure.axes) == 2 * 3 + 1  # one colour bar


def test_columns_and_rows_are_named_once(comparison: Comparison) -> None:
    found = panels(draw_matrices(comparison, "epochs"))
    tasks = list(comparison.settings.tasks)
    assert [column_labels(axes) for axes in found] == [tasks] * 3 + [[]] * 6
    labels = ["crossing\n+ distance", "crossing\n+ inside"]
    assert [row_labels(axes) for axes in found[3:]] == [labels, [], []] * 2
    assert [axes.get_title() for axes in found[:3]] == ["narrow", "wide", "wider"]
    sizes = comparison.runs.drop_duplicates("arch")["parameters"]
    assert [axes.get_xlabel() for axes in found[:3]] == [f"3 seeds\n{size:,} parameters" for size in sizes]
    assert [axes.texts[-1].get_text() for axes in found[::3]] == ["FTWB1", "FTWB2", "FTWB2\nminus expected"]


def test_missing_models_are_counted(comparison: Comparison) -> None:
    runs = comparison.runs.copy()
    runs.loc[runs["arch"] == "wide", "missing_models"] = "ftwb2-4"
    runs.loc[runs["experiment"] == "narrow-epochs-s1", "missing_models"] = "ftwb1-1 ftwb2-4"
    lacking = replace(comparison, runs=runs)
    assert missing_models(lacking, "epochs", "wide") == {"ftwb2-4": "missing"}
    assert missing_models(lacking, "epochs", "narrow", "wide") == {
        "ftwb1-1": "narrow: missing in 1 of 3 runs",
        "ftwb2-4": "narrow: missing in 1 of 3 runs; wide: missing",
    }
    assert missing_models(comparison, "epochs", "narrow", "wide") == {}


# --- one width minus another


def test_a_difference_shows_mean_and_interval(comparison: Comparison) -> None:
    """Outlined where the interval excludes 0."""
    figure = draw_difference(comparison, "epochs", "narrow", "wider")
    found: list[Seen] = []
    for block, axes in zip(BLOCKS, panels(figure), strict=True):
        where = {"arm": "epochs", "level": "narrow", "other": "wider", "matrix": block}
        assert cells(axes) == expected_cells(comparison.settings, block, comparison.cell_differences, **where)
        found += cells(axes).values()
    tested, outlined = sum("±" in cell.below for cell in found), sum(cell.outlined for cell in found)
    assert 0 < outlined < tested
    assert f"{outlined} of {tested}; not adjusted" in caption(figure)
    assert f"by chance alone about {0.05 * tested:.0f} would be" in caption(figure)
    assert "2 to 3 seeds" in caption(figure)
    (bar,) = (axes for axes in figure.axes if axes not in panels(figure))
    assert (bar.get_ylabel(), bar.get_ylim()) == ("wider minus narrow", (-0.5, 0.5))


def test_a_difference_of_one_seed_has_no_interval(one_seed: Comparison) -> None:
    figure = draw_difference(one_seed, "epochs", "narrow", "wide")
    found = [cell for axes in panels(figure) for cell in cells(axes).values()]
    assert {(cell.below, cell.outlined) for cell in found} == {("n=1", False)}
    assert "an interval needs two seeds" in caption(figure)


def test_equal_seeds_are_not_outlined(one_seed: Comparison) -> None:
    """No spread over seeds: nothing is significant, as in the tables' verdicts."""
    table = one_seed.cell_differences.assign(n=2, mean=0.3, low=0.3, high=0.3)
    figure = draw_difference(replace(one_seed, cell_differences=table), "epochs", "narrow", "wide")
    assert not any(cell.outlined for axes in panels(figure) for cell in cells(axes).values())


def test_what_is_not_there_is_an_error(comparison: Comparison, one_width: Comparison) -> None:
    for budget, arch, other in (
        ("flops", "narrow", "wider"),
        ("epochs", "wider", "narrow"),
        ("tokens", "narrow", "wide"),
    ):
        with pytest.raises(WorldwidthError, match=f"arm {budget} has no runs of {arch} and {other}"):
            draw_difference(comparison, budget, arch, other)
    with pytest.raises(WorldwidthError, match="no runs of narrow and wide"):
        draw_difference(one_width, "epochs", "narrow", "wide")
    with pytest.raises(WorldwidthError, match="no run is of the arm tokens; there are: epochs, flops"):
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
        rows = comparison.means[comparison.means["metric"] == name]
        assert len(rows) == 5
        rows = rows[rows["n"] > 0]
        for axes in (above, below):
            np.testing.assert_allclose(bars(axes), rows[["low", "high"]].dropna().to_numpy(dtype=float))
            shown = [*rows["mean"], *comparison.runs[name].dropna()]
            np.testing.assert_allclose(np.sort(dots(axes)), np.sort(shown))
            low, high = axes.get_ylim()
            assert low < dots(axes).min() <= dots(axes).max() < high
        assert [label.get_text().split("\n")[0] for label in above.get_xticklabels()] == ["narrow", "wide", "wider"]
        places = sorted(set(zip(comparison.runs["flops"], comparison.runs["level"], strict=True)))
        assert [text.get_text() for text in below.texts] == [level for _, level in places], "once where arms agree"


def test_the_caption_of_the_scores_says_what_a_bar_is(comparison: Comparison, one_seed: Comparison) -> None:
    figure = draw_scores(comparison)
    assert "means over 1 to 3 seeds; bars: 95 % interval" in caption(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["budget epochs", "budget flops"]
    figure = draw_scores(one_seed)
    assert "one seed each; an interval needs two seeds" in caption(figure)
    assert not any(bars(axes) for _, *both in metric_panels(figure) for axes in both)


def test_an_endless_interval_does_not_flatten_a_panel(comparison: Comparison, one_width: Comparison) -> None:
    wide = replace(comparison, means=comparison.means.assign(low=-40.0, high=40.0))
    figure = draw_scores(wide)
    for _, *both in metric_panels(figure):
        for axes in both:
            low, high = axes.get_ylim()
            assert -1 < low < high < 2.5
    assert "go on beyond it" in caption(figure)
    assert "go on beyond it" not in caption(draw_scores(one_width))


def test_points_stand_at_their_size(comparison: Comparison) -> None:
    """At that itself, though points of two arms lie on each other: a place on this axis is a number."""
    (_, above, below), *_ = metric_panels(draw_scores(comparison))
    for axes, size in ((above, "parameters"), (below, "flops")):
        runs = comparison.runs.drop_duplicates(["arm", "level"])
        x = [container.lines[0].get_xdata() for container in axes.containers]  # type: ignore[attr-defined]
        found = np.concatenate([np.asarray(values, dtype=float) for values in x])
        np.testing.assert_allclose(found, runs[size].to_numpy(dtype=float))


# --- headline metrics over another axis

RATE = "finetuning.learning_rate"
RATES = (5e-4, 1e-3, 4e-3, 8e-3)


@pytest.fixture(scope="module")
def controlled(small: Settings) -> Settings:
    """With the model of no task."""
    return replace(small, finetunes={"ftwb0-0": (), **small.finetunes})


@pytest.fixture(scope="module")
def curves_over_rates(controlled: Settings) -> Comparison:
    """Three archs, one of them deep, at four rates; three replicates."""
    return compare(fake_runs(controlled, archs=("narrow", "deep", "wide"), rates=RATES), by=("arch", RATE))


def test_a_second_axis_gives_a_curve_an_arch(curves_over_rates: Comparison) -> None:
    figure = draw_scores(curves_over_rates)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    labels = {metric.label: name for name, metric in curves_over_rates.metrics.items()}
    names = [labels[axes.get_title()] for axes in shown]
    assert names[-3:] == ["ftwb1_transfer_minus_control", "ftwb2_transfer_minus_control", "control"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["narrow", "deep", "wide"]
    for name, axes in zip(names, shown, strict=True):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["5e-4", "1e-3", "4e-3", "8e-3"]
        assert axes.get_xscale() == "log"
        means = curves_over_rates.means[curves_over_rates.means["metric"] == name]
        assert len(axes.containers) == 3
        for arch, container in zip(("narrow", "deep", "wide"), axes.containers, strict=True):
            line = container.lines[0]  # type: ignore[attr-defined]
            own = [
                means[(means["level"] == arch) & (means["arm"] == f"epochs, lr {x}")]
                for x in ("5e-4", "1e-3", "4e-3", "8e-3")
            ]
            np.testing.assert_allclose(line.get_ydata(), [float(row["mean"].iloc[0]) for row in own])
            np.testing.assert_allclose(np.log10(np.asarray(line.get_xdata(), dtype=float)), np.log10(RATES), atol=0.05)
        np.testing.assert_allclose(sorted(bars(axes)), sorted(means[["low", "high"]].to_numpy(dtype=float).tolist()))
        marks = [line for line in axes.lines if line.get_marker() == "_" and line.get_linestyle() == "None"]
        values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in marks])
        single = set(np.round(curves_over_rates.runs[name], 9))
        assert single <= set(np.round(values, 9))
    assert "thin marks: single seeds" in caption(figure)
    nothing_is_cut(figure)


def test_rates_compared_have_a_curve_an_arm(controlled: Settings) -> None:
    found = compare(
        fake_runs(controlled, archs=("narrow", "wide"), rates=RATES[:2], budgets=("epochs", "flops")), by=(RATE,)
    )
    figure = draw_scores(found)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "narrow, epochs", "wide, epochs", "narrow, flops", "wide, flops"]  # fmt: skip
    assert figure.axes[0].get_xscale() == "linear"  # twice the rate is no decade
    lines = [container.lines[0] for container in figure.axes[0].containers]  # type: ignore[attr-defined]
    assert len({(str(line.get_color()), line.get_marker()) for line in lines}) == 4
    assert len({str(line.get_color()) for line in lines}) == 2


def test_draws_of_atlantis_are_said(controlled: Settings, curves_over_rates: Comparison) -> None:
    runs = fake_runs(controlled, archs=("narrow", "wide"), seeds=(1, 2), draws=(42, 43))
    said = "A seed has a draw of Atlantis of its own."
    assert said in caption(draw_scores(compare(runs)))
    assert said not in caption(draw_scores(curves_over_rates))


def test_words_stand_beside_each_other(controlled: Settings) -> None:
    found = compare(fake_runs(controlled, archs=("narrow", "wide"), budgets=("epochs", "flops")), by=("budget",))
    figure = draw_scores(found)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["epochs", "flops"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["narrow", "wide"]


def test_archs_of_another_depth_are_not_joined(controlled: Settings) -> None:
    found = compare(fake_runs(controlled, archs=("narrow", "deep", "wide", "shallow")))
    figure = draw_scores(found)
    (joined,) = (line for line in figure.axes[0].lines if line.get_linestyle() == "-")
    sizes = found.runs.drop_duplicates("level").set_index("level")["parameters"]
    assert list(joined.get_xdata()) == [sizes["narrow"], sizes["wide"]]  # type: ignore[arg-type]
    nothing_is_cut(figure)


def test_the_control_is_the_last_row_of_the_first_matrix(controlled: Settings) -> None:
    found = compare(fake_runs(controlled, archs=("narrow", "wide")))
    shown = panels(draw_matrices(found, "epochs"))
    assert [row_labels(axes)[-1] for axes in shown[::2]] == ["no task", "crossing\n+ inside", "crossing\n+ inside"]
    control = found.cells.query("matrix == 'ftwb0' and level == 'wide'")
    last = [cell for (row, _), cell in cells(shown[1]).items() if row == 3]
    assert [cell.text for cell in last] == [score(mean) for mean in control["mean"]]
    assert not any(cell.trained or cell.hatched for cell in last)
    below = panels(draw_difference(found, "epochs", "narrow", "wide"))[0]
    assert all(cell.below.startswith("±") for (row, _), cell in cells(below).items() if row == 3)


def test_every_arch_has_one_colour_everywhere(comparison: Comparison, one_width: Comparison) -> None:
    """Whichever others are compared, and in every figure."""
    for made in (comparison, one_width):
        looks = arch_looks(made.settings)
        above = metric_panels(draw_scores(made))[0][1]
        for arch in made.archs:
            places = set(made.runs[made.runs["level"] == arch]["parameters"])
            marked = [line for line in above.lines if line.get_marker() != "None" and len(line.get_xdata())]  # type: ignore[arg-type]
            own = [line for line in marked if set(line.get_xdata()) <= places]  # type: ignore[arg-type]
            assert own
            assert {str(line.get_color()) for line in own} == {looks[arch].color}
        handles = draw_curves(made).legends[0].get_lines()[: len(made.archs)]
        assert [str(line.get_color()) for line in handles] == [looks[arch].color for arch in made.archs]


# --- pre-training curves


def test_curves_are_the_validation_losses(comparison: Comparison) -> None:
    figure = draw_curves(comparison)
    curves = comparison.curves.dropna(subset=["validation_loss"])
    for axes, size in zip(figure.axes, ("flops", "tokens"), strict=True):
        thin = [line for line in axes.lines if line.get_linewidth() < 1]
        thick = [line for line in axes.lines if line.get_linewidth() > 1]
        assert (len(thin), len(thick)) == (11, 5)
        runs = curves.groupby(["arm", "level", "seed"], sort=False)
        for line, (_, run) in zip(thin, runs, strict=True):
            np.testing.assert_allclose(np.asarray(line.get_xdata(), dtype=float), run[size])
            np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), run["validation_loss"])
        for line, (_, of_place) in zip(thick, curves.groupby(["arm", "level"], sort=False), strict=True):
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


def test_runs_that_share_a_base_model_share_its_curve(curves_over_rates: Comparison) -> None:
    """Rates of fine-tuning come after pre-training: one curve an arch and seed."""
    figure = draw_curves(curves_over_rates)
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() < 1]
    assert len(thin) == 3 * 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["narrow", "deep", "wide"]


# --- all figures


@pytest.mark.parametrize("name", ["comparison", "one_seed", "one_width"])
def test_no_text_is_cut(request: pytest.FixtureRequest, name: str) -> None:
    made: Comparison = request.getfixturevalue(name)
    figures = [draw_scores(made), draw_curves(made), draw_matrices(made, "epochs")]
    figures.append(draw_retention(made, made.arms[-1]))
    if len(made.archs) > 1:
        figures.append(draw_difference(made, "epochs", made.archs[0], made.archs[-1]))
    for figure in figures:
        nothing_is_cut(figure)


def test_four_widths_of_the_whole_study_fit_on_a_page() -> None:
    settings = load(ROOT / "params.yaml")
    whole = compare(fake_runs(settings, seeds=(1,)))
    signed = whole.cells.assign(mean=whole.cells["mean"].where(whole.cells["matrix"] != "difference", -0.28))
    table = whole.cell_differences.assign(n=3, mean=-0.28, low=-0.98, high=-0.08)
    for figure in (
        draw_matrices(replace(whole, cells=signed), "epochs"),
        draw_difference(replace(whole, cell_differences=table), "epochs", "narrow", "wider"),
    ):
        nothing_is_cut(figure)
        assert figure.get_figwidth() == pytest.approx(PAGE / 72, rel=0.02)


def test_figures_of_arms_are_named_after_them(
    curves_over_rates: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures_of, "save_printed", lambda figures, folder, _: [folder / name for name in figures])
    files = [path.name for path in draw_comparison_figures(curves_over_rates, tmp_path)]
    arm = ["matrices-epochs-lr5e-4", "difference-epochs-lr5e-4-narrow-wide", "retention-epochs-lr5e-4"]
    assert files[:4] == [*arm, "patterns-epochs-lr5e-4"]
    assert files[-6:] == ["answer", "scores", "curves", "efficiency", "divergence", "givers"]
    assert len(files) == len(set(files)) == 4 * 4 + 6


def test_names_of_the_files(comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_of, "save_printed", lambda figures, folder, _: [folder / name for name in figures])
    files = draw_comparison_figures(comparison, tmp_path, [("wide", "narrow"), ("wide", "wider"), ("wide", "none")])
    assert files == [
        tmp_path / name
        for name in (
            "matrices-epochs",
            "difference-epochs-narrow-wider",
            "difference-epochs-narrow-wide",
            "difference-epochs-wide-wider",
            "retention-epochs",
            "patterns-epochs",
            "matrices-flops",
            "difference-flops-narrow-wide",
            "retention-flops",
            "patterns-flops",
            "answer",
            "scores",
            "curves",
            "efficiency",
            "divergence",
            "givers",
        )
    ]


def test_files(one_seed: Comparison, tmp_path: Path) -> None:
    """The same bytes every time, whatever style the caller has set."""
    mine = tmp_path / "once" / "mine.png"
    mine.parent.mkdir()
    for name in ("mine", "matrices-flops", "patterns-flops"):  # the others are of a comparison that had another arm
        (tmp_path / "once" / f"{name}.png").touch()
    files = draw_comparison_figures(one_seed, tmp_path / "once")
    names = [
        "matrices-epochs",
        "difference-epochs-narrow-wide",
        "retention-epochs",
        "patterns-epochs",
        "answer",
        "scores",
        "curves",
    ]
    names += ["efficiency", "divergence", "givers"]
    assert [path.name for path in files] == [f"{name}.{kind}" for name in names for kind in ("png", "pdf", "svg")]
    assert sorted((tmp_path / "once").iterdir()) == sorted([*files, mine])
    files = [path for path in files if path.suffix == ".png"]
    with plt.rc_context({"font.size": 20, "figure.dpi": 40, "lines.linewidth": 9, "text.color": "red"}):
        again = [
            save_figure("difference", lambda: draw_difference(one_seed, "epochs", "narrow", "wide"), tmp_path),
            save_figure("scores", lambda: draw_scores(one_seed), tmp_path),
            save_figure("curves", lambda: draw_curves(one_seed), tmp_path),
            save_figure("patterns", lambda: draw_patterns(one_seed, "epochs"), tmp_path),
            save_figure("efficiency", lambda: draw_efficiency(one_seed), tmp_path),
            save_figure("divergence", lambda: draw_divergence(one_seed), tmp_path),
            save_figure("givers", lambda: draw_givers(one_seed), tmp_path),
        ]
    for first, second in zip((files[1], *files[5:7], files[3], *files[7:]), again, strict=True):
        assert first.read_bytes() == second.read_bytes(), second.name


@pytest.mark.parametrize(("name", "tasks"), [("ftwb0-0", ()), ("plug1-1", ("distance",))])
def test_models_that_answer_nothing_have_the_other_figures(
    small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, tasks: tuple[str, ...]
) -> None:
    """As of a sweep with `only: [ftwb0]`, whose question is what its base models know."""
    comparison = compare(fake_runs(replace(small, finetunes={name: tasks}), archs=("narrow", "wide"), seeds=(1, 2)))
    drawn: dict[str, Figure] = {}

    def save(figures: dict[str, Callable[[], Figure]], _: Path, __: object) -> list[Path]:
        drawn.update({name: draw() for name, draw in figures.items()})
        return []

    monkeypatch.setattr(figures_of, "save_printed", save)
    draw_comparison_figures(comparison, tmp_path)
    assert {"matrices-epochs", "difference-epochs-narrow-wide", "scores", "curves"} <= drawn.keys()
    assert "answer" not in drawn


def test_figures_of_one_run(small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Figure] = {}

    def save(figures: dict[str, Callable[[], Figure]], folder: Path, _: object) -> list[Path]:
        drawn.update({name: draw() for name, draw in figures.items()})
        return [folder / name for name in figures]

    monkeypatch.setattr(figures_of, "save_printed", save)
    run = compare(fake_runs(small, archs=("narrow",), seeds=(1,)))
    draw_comparison_figures(run, tmp_path, [("narrow", "wide")])
    names = ["matrices-epochs", "retention-epochs", "answer", "scores", "curves", "efficiency", "divergence", "givers"]
    assert list(drawn) == names  # one run has no pattern to hold against another
    assert "Numbers: one seed." in caption(drawn["matrices-epochs"])
