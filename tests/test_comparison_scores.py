"""Headline metrics and pre-training curves of a comparison, against the tables they are drawn from.

pytest tests/test_comparison_scores.py
"""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fake_comparisons import RATE, RATES
from fake_plots import caption, nothing_is_cut
from fake_runs import fake_runs
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.plots.comparison import draw_scores
from worldwidth.plots.losses import draw_curves
from worldwidth.plots.style import arch_looks
from worldwidth.settings.schema import Settings

pytestmark = pytest.mark.usefixtures("no_figure_is_kept")


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
