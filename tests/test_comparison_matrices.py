"""The matrices of a comparison, side by side and one minus another, against the tables they are drawn from.

pytest tests/test_comparison_matrices.py
"""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from fake_plots import Place, Seen, caption, column_labels, panels, read, row_labels
from fake_runs import fake_runs
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import MINUS, score
from worldwidth.plots.comparison import (
    draw_difference,
    draw_matrices,
    draw_retention,
    missing_models,
)
from worldwidth.plots.heatmap import models_of
from worldwidth.settings.schema import Settings

pytestmark = pytest.mark.usefixtures("no_figure_is_kept")


BLOCKS = ("ftwb1", "ftwb2", "difference")

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
