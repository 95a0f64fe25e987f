"""The figures of divergence, givers and takers, patterns and efficiency, against the tables they are drawn from.

pytest tests/test_transfer_figures.py
"""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fake_plots import Seen, caption, no_labels_overlap, nothing_is_cut, panels, read, row_labels
from fake_runs import fake_runs
from worldwidth.comparison.divergence import CONTRAST, GIVER, TAKER, WITH, WITHOUT
from worldwidth.comparison.efficiency import COSTS
from worldwidth.comparison.patterns import MEASURED, PEARSON, STANDARDISED
from worldwidth.comparison.tables import Comparison, compare, records
from worldwidth.comparison.transfer_tables import divergence_rows, efficiency_rows, giver_rows, pattern_rows
from worldwidth.core.text import score
from worldwidth.plots.divergence import draw_divergence, draw_givers
from worldwidth.plots.efficiency import draw_efficiency
from worldwidth.plots.patterns import draw_patterns
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ARCHS = ("narrow", "base", "wide")


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Four tasks, a model of each, a pair with distance and one without, the control."""
    finetunes: dict[str, tuple[str, ...]] = {
        "ftwb1-1": ("distance",),
        "ftwb1-2": ("angle",),
        "ftwb1-3": ("inside",),
        "ftwb1-4": ("crossing",),
        "ftwb2-1": ("angle", "distance"),
        "ftwb2-2": ("angle", "inside"),
        "ftwb0-0": (),
    }
    study = load(Path(__file__).parents[1] / "params.yaml")
    return replace(study, tasks=("distance", "angle", "inside", "crossing"), finetunes=finetunes)


@pytest.fixture(scope="module")
def comparison(settings: Settings) -> Comparison:
    """Three widths and three seeds under their own epochs, two and two under equal FLOPs."""
    more = fake_runs(settings, archs=("narrow", "wide"), seeds=(1, 2), budgets=("flops",))
    return compare(fake_runs(settings, archs=ARCHS) + more)


@pytest.fixture(scope="module")
def over_rates(settings: Settings) -> Comparison:
    """Rates compared within an arch, one seed: no interval, and an axis that is no arch."""
    runs = fake_runs(settings, archs=("narrow", "wide"), seeds=(1,), rates=(5e-4, 1e-3, 4e-3))
    return compare(runs, by=("finetuning.learning_rate",))


def points(axes: Axes) -> list[tuple[float, float]]:
    """(x, y) of all points that have an error bar."""
    lines = [container.lines[0] for container in axes.containers]  # type: ignore[attr-defined]
    found = [np.column_stack([line.get_xdata(), line.get_ydata()]) for line in lines]
    return [(float(x), float(y)) for x, y in np.concatenate(found).astype(float)]


def bars(axes: Axes) -> list[tuple[float, float]]:
    """(low, high) of all error bars."""
    segments = [one for container in axes.containers for one in container.lines[2][0].get_segments()]  # type: ignore[attr-defined]
    return sorted((float(one[0, 1]), float(one[1, 1])) for one in segments)


def test_gains_stand_beside_each_other(comparison: Comparison) -> None:
    figure = draw_divergence(comparison)
    for axes, (arm, tasks) in zip(figure.axes, product(comparison.arms, ("trained", "other")), strict=True):
        levels = comparison.levels(arm)
        assert [label.get_text() for label in axes.get_xticklabels()] == levels
        rows = [
            row
            for pairs in (WITH, WITHOUT, CONTRAST)
            for level in levels
            for row in records(comparison.divergence, arm=arm, tasks=tasks, pairs=pairs, level=level)
        ]
        found = points(axes)
        assert [y for _, y in found] == pytest.approx([row["mean"] for row in rows])
        assert [levels[round(x)] for x, _ in found] == [row["level"] for row in rows]
        np.testing.assert_allclose(bars(axes), sorted((row["low"], row["high"]) for row in rows))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "pairs with distance", "pairs without distance", "with minus without"]  # fmt: skip
    assert "means over 2 to 3 seeds" in caption(figure)


def test_givers_and_takers_have_a_mark_a_level(comparison: Comparison) -> None:
    figure, tasks = draw_givers(comparison), comparison.settings.tasks
    for axes, (arm, role) in zip(figure.axes, product(comparison.arms, (GIVER, TAKER)), strict=True):
        rows = [
            row
            for level in comparison.levels(arm)
            for row in records(comparison.givers, arm=arm, role=role, level=level)
        ]
        found = points(axes)
        assert [y for _, y in found] == pytest.approx([row["mean"] for row in rows])
        assert [tasks[round(x)] for x, _ in found] == [row["task"] for row in rows]
    assert figure.axes[0].get_ylabel() == "epochs\ntransfer minus control"


def test_the_frontier_goes_through_its_points(comparison: Comparison) -> None:
    figure, table = draw_efficiency(comparison), comparison.efficiency
    names = list(dict.fromkeys(table["metric"]))
    for axes, (cost, metric) in zip(figure.axes, product(COSTS, names), strict=True):
        rows = records(table, cost=cost, metric=metric)
        np.testing.assert_allclose(sorted(points(axes)), sorted((row["at"], row["mean"]) for row in rows))
        best = sorted((row["at"], row["mean"]) for row in rows if row["frontier"])
        steps = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
        assert list(zip(steps.get_xdata(), steps.get_ydata(), strict=True))[:-1] == best  # type: ignore[arg-type]
        assert axes.get_xscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "narrow", "base", "wide", "epochs", "flops", "frontier"]  # fmt: skip


def test_correlations_are_those_of_the_table(comparison: Comparison) -> None:
    figure = draw_patterns(comparison, "epochs")
    runs = [(level, seed) for level in ARCHS for seed in (1, 2, 3)]
    assert row_labels(panels(figure)[0]) == [f"{level} {seed}" for level, seed in runs]
    for axes, scores in zip(panels(figure), (STANDARDISED, MEASURED), strict=True):
        cells = read(axes)
        for (i, one), (j, other) in product(enumerate(runs), repeat=2):
            (row,) = (
                row
                for row in records(comparison.patterns, arm="epochs", scores=scores, kind=PEARSON)
                if {one, other} == {(row["level"], row["seed"]), (row["other"], row["other_seed"])}
            )
            text = score(row["correlation"])
            assert replace(cells[i, j], color=None) == Seen(text, outlined=one[0] == other[0])
    (test,) = records(comparison.pattern_tests, arm="epochs", headline=True)
    assert f"{test['within']:.2f} within one width (9 pairs)".replace("-", "\N{MINUS SIGN}") in caption(figure)
    assert f"p = {test['p']:.3f}" in caption(figure)


@pytest.mark.parametrize("name", ["comparison", "over_rates"])
def test_no_text_is_cut_and_none_lies_on_another(request: pytest.FixtureRequest, name: str) -> None:
    made: Comparison = request.getfixturevalue(name)
    figures: list[Figure] = [draw_divergence(made), draw_givers(made), draw_efficiency(made)]
    figures += [draw_patterns(made, arm) for arm in made.arms]
    for figure in figures:
        nothing_is_cut(figure)
    for figure in figures[3:]:
        no_labels_overlap(figure)


def test_one_seed_has_no_interval_and_no_test(over_rates: Comparison) -> None:
    for draw in (draw_divergence, draw_givers, draw_efficiency):
        assert "an interval needs two seeds or more" in caption(draw(over_rates))
    figure = draw_patterns(over_rates, over_rates.arms[0])
    assert "One replicate: cannot be tested." in caption(figure)
    assert "finetuning.learning_rate" in str(figure.get_suptitle())


def test_text_tables_hold_the_numbers(comparison: Comparison) -> None:
    def first(rows: Any) -> dict[str, str]:
        return dict(next(iter(rows)))

    gain = records(comparison.divergence, arm="epochs", level="narrow", tasks="trained", pairs=WITH)[0]
    assert first(divergence_rows(comparison, "epochs"))[WITH].startswith(
        f"{gain['mean']:+.2f}".replace("-", "\N{MINUS SIGN}")
    )
    given = records(comparison.givers, arm="epochs", level="wide", role=GIVER, task="distance")[0]
    assert first(giver_rows(comparison, "epochs"))["wide"].startswith(f"{given['mean']:.2f}")
    test = records(comparison.pattern_tests, arm="epochs")[0]
    assert first(pattern_rows(comparison, "epochs"))["p"] == f"{test['p']:.3f}"
    rows = list(efficiency_rows(comparison))
    assert (rows[0]["point"], rows[0]["arm"]) == ("narrow", "epochs")
    marked = [row for row in rows if "P" in row["FTWB1 trained"]]
    best = records(comparison.efficiency, metric="ftwb1_trained", cost="parameters", frontier=True)
    assert {(row["arm"], row["point"]) for row in marked} == {(row["arm"], row["level"]) for row in best}
