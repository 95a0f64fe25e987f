"""The curve over the body's rate. `pytest tests/test_ratios.py`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_runs import fake_run, fake_runs, published, with_scale
from worldwidth.comparison.tables import Comparison, compare, records
from worldwidth.plots.ratios import NEW_ROWS, RATIO, draw_ratios, has_ratios, ratio_table
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
RATIOS = (0.0, 0.03, 1.0)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return replace(
        load(ROOT / "params.yaml"),
        finetunes={"plug1-1": ("distance",), "ftwb1-1": ("distance",), "ftwb1-4": ("compass",), "ftwb0-0": ()},
    )


def at(settings: Settings, ratio: float, **changes: object) -> Settings:
    own = published(settings)
    run = with_scale(own, finetuning=replace(own.selected.finetuning, body_ratio=ratio))
    return replace(run, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def comparison(settings: Settings) -> Comparison:
    """Two archs and seeds at three ratios of the default recipe, and at a ratio of 1 of the published one."""
    runs = [
        fake_run(at(settings, ratio, arch=arch, seed=seed), 0.1 * ratio, 0.03)
        for arch in ("narrow", "wide")
        for seed in (1, 2)
        for ratio in RATIOS
    ]
    runs += [fake_run(at(settings, 1.0, arch="wide", seed=seed, recipe="published"), 0.0, 0.03) for seed in (1, 2)]
    return compare(runs, others=(RATIO, "recipe"))


def test_ratios_fall_and_new_rows_end_the_axis(comparison: Comparison) -> None:
    table = ratio_table(comparison)
    assert list(dict.fromkeys(table["place"])) == ["1, published", "1", "0.03", "0", NEW_ROWS]
    assert set(table[table["place"] == "1, published"]["level"]) == {"wide"}
    assert set(table["n"]) == {2}


def test_a_point_is_the_mean_of_its_arm(comparison: Comparison) -> None:
    table, means = ratio_table(comparison), comparison.means
    for place, arm in (("0.03", "epochs, body ratio 3e-2"), ("1", "epochs, body ratio 1")):
        for metric in ("ftwb1_trained", "ftwb1_transfer_minus_control", "retention_other"):
            where = {"metric": metric, "level": "narrow"}
            (point,), (mean,) = records(table, place=place, **where), records(means, arm=arm, **where)
            assert point["mean"] == mean["mean"]
    new = table[(table["place"] == NEW_ROWS) & (table["level"] == "wide")].set_index("metric")["mean"]
    plugged = means[(means["level"] == "wide")].drop_duplicates("metric").set_index("metric")["mean"]
    assert dict(new) == {
        "ftwb1_trained": plugged["plug1_trained"], "ftwb1_transfer_minus_control": plugged["plug1_transfer"],
    }  # fmt: skip


def _drawn(line: Any) -> Any:
    return np.flatnonzero(np.isfinite(np.asarray(line.get_ydata(), dtype=float)))


def test_an_arch_is_a_line(comparison: Comparison) -> None:
    figure = draw_ratios(comparison)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["narrow", "wide"]
    for axes, n in zip(figure.axes, (4, 4, 3), strict=True):
        narrow, wide = (container.lines[0] for container in axes.containers)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(_drawn(narrow), range(1, n + 1))
        np.testing.assert_array_equal(_drawn(wide), range(n + 1))
    assert "means over 2 seeds; bars: 95 % interval" in figure.get_supxlabel().replace("\n", " ")


def test_a_line_breaks_where_nothing_was_run(settings: Settings) -> None:
    runs = [
        fake_run(at(settings, ratio, arch=arch, seed=seed), 0.1, 0.03)
        for arch, ratios in (("narrow", RATIOS), ("wide", (0.0, 1.0)))
        for seed in (1, 2)
        for ratio in ratios
    ]
    figure = draw_ratios(compare(runs, others=(RATIO, "recipe")))
    wide = figure.axes[0].containers[1].lines[0]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(_drawn(wide), [0, 2, 3])
    np.testing.assert_array_equal(np.round(np.asarray(wide.get_xdata(), dtype=float)), range(4))


def test_an_arch_with_few_ratios_is_named_not_drawn(settings: Settings) -> None:
    runs = [fake_run(at(settings, ratio, arch="narrow"), 0.1, 0.03) for ratio in (0.0, 0.01, 0.03, 0.1, 1.0)]
    runs += [fake_run(at(settings, 0.0, arch="deep"), 0.1, 0.03)]
    figure = draw_ratios(compare(runs, others=(RATIO, "recipe")))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["narrow"]
    assert "few ratios of them: deep." in figure.get_supxlabel().replace("\n", " ")


def test_one_ratio_is_no_curve(comparison: Comparison, settings: Settings) -> None:
    assert has_ratios(comparison)
    assert not has_ratios(compare(fake_runs(settings, archs=("narrow", "wide"), seeds=(1,))))
