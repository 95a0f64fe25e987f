"""The estimators of the primary contrast, against other implementations and by simulation.

pytest tests/test_blocks.py; `python tests/test_blocks.py` prints the table of docs/statistics.md.
"""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from worldwidth.comparison.blocks import (
    BLOCKS,
    MIXED,
    POOLED,
    SLOPES,
    Contrast,
    Replicates,
    by_blocks,
    by_mixed_model,
    by_pooling,
    by_replicate,
    end_weights,
    linear_weights,
    near_equal,
    residual,
    tukey,
)
from worldwidth.evaluation.scores import Floats

SIZES = (16, 32, 64, 128)
LINEAR = linear_weights(SIZES)
REFERENCE = np.array([[0.48, 0.70, 0.80, 0.91], [0.53, 0.73, 0.91, 0.93], [0.49, 0.69, 0.87, 0.92]])
"""Three replicates of four widths, of the size of the reference study's."""
SCATTERS: dict[str, tuple[Floats, float]] = {
    "no replicate effect": (np.full(4, 0.035), 0.0),
    "shared replicate effect": (np.full(4, 0.035), 0.035),
    "large replicate effect": (np.full(4, 0.035), 0.1),
    "sds rise fourfold": (np.geomspace(0.0175, 0.07, 4), 0.0),
    "one level scatters threefold": (np.array([0.07, 0.023, 0.023, 0.023]), 0.0),
}
"""Standard deviations of the levels, and that of what a replicate does to all of them."""
QUICK = (by_blocks, by_pooling, by_replicate)


def table_of(values: Floats) -> Replicates:
    """Replicates that have a seed and a draw each."""
    return Replicates(values, tuple(range(len(values))), tuple(range(len(values))))


def drawn(scatter: str, n: int, rise: float, count: int) -> Iterator[Replicates]:
    """Tables whose levels rise along a line by ``rise`` in all."""
    sds, shared = SCATTERS[scatter]
    rng = np.random.default_rng([n, *scatter.encode()])
    for _ in range(count):
        own = rng.standard_normal((n, 4)) * sds + rng.standard_normal((n, 1)) * shared
        yield table_of(own + rise * np.arange(4) / 3)


def long(table: Replicates) -> pd.DataFrame:
    rows = [(i, j, table.values[i, j]) for i in range(table.n) for j in range(table.k)]
    return pd.DataFrame(rows, columns=["replicate", "level", "y"])


def ends(contrast: Contrast) -> tuple[float, float]:
    assert contrast.found.low is not None
    assert contrast.found.high is not None
    return contrast.found.low, contrast.found.high


# --- against other implementations


def test_the_linear_contrast_is_the_rise_of_the_least_squares_line() -> None:
    means = REFERENCE.mean(axis=0)
    slope = stats.linregress(np.log2(SIZES), means).slope
    assert LINEAR @ means == pytest.approx(3 * slope)
    assert end_weights(4) @ means == pytest.approx(means[3] - means[0])
    assert linear_weights([128, 16]) @ np.array([0.9, 0.5]) == pytest.approx(0.4)


def test_blocks_are_the_two_way_analysis_of_variance() -> None:
    table = table_of(REFERENCE)
    fit = ols("y ~ C(level) + C(replicate)", long(table)).fit()
    x = np.log2(SIZES)
    names = [f"C(level)[T.{j}]" for j in (1, 2, 3)]
    row = [LINEAR[names.index(name) + 1] if name in names else 0 for name in fit.params.index]
    test = fit.t_test(row)
    found = by_blocks(table, LINEAR)
    assert found.freedom == fit.df_resid == 6
    assert [found.found.mean, found.found.p] == pytest.approx([float(test.effect[0]), float(test.pvalue)])
    assert ends(found) == pytest.approx(tuple(test.conf_int()[0]))
    assert x[-1] - x[0] == 3


def test_pooling_is_the_one_way_analysis_of_variance() -> None:
    table = table_of(REFERENCE)
    fit = ols("y ~ C(level)", long(table)).fit()
    test = fit.t_test([0, *LINEAR[1:]])
    found = by_pooling(table, LINEAR)
    assert found.freedom == fit.df_resid == 8
    assert found.found.p == pytest.approx(float(test.pvalue))
    assert ends(found) == pytest.approx(tuple(test.conf_int()[0]))


def test_with_two_levels_blocks_are_the_paired_t_test() -> None:
    table = table_of(REFERENCE[:, [0, 3]])
    found = by_blocks(table, end_weights(2))
    assert found.found.p == pytest.approx(stats.ttest_rel(REFERENCE[:, 3], REFERENCE[:, 0]).pvalue)
    assert ends(found) == pytest.approx(ends(by_replicate(table, end_weights(2))))


def test_tukey_is_scipy_s_where_replicates_share_nothing() -> None:
    """scipy's pools as a one-way analysis; the same critical value and p follow from its variance and freedom."""
    groups = list(REFERENCE.T)
    theirs = stats.tukey_hsd(*groups)
    table = table_of(REFERENCE)
    pooled = float(REFERENCE.var(axis=0, ddof=1).mean())
    variance, _ = residual(table)
    for pair in tukey(table):
        value, p = pair.found.mean, pair.found.p
        assert value is not None
        assert value == pytest.approx(-theirs.statistic[pair.level, pair.other])
        scaled = abs(value) / (pooled / 3) ** 0.5
        assert theirs.pvalue[pair.level, pair.other] == pytest.approx(
            stats.studentized_range.sf(scaled, 4, 8), abs=1e-6
        )
        mine = abs(value) / (variance / 3) ** 0.5
        assert p == pytest.approx(stats.studentized_range.sf(mine, 4, 6), abs=1e-6)


def test_tukey_of_two_levels_is_one_t_test() -> None:
    table = table_of(REFERENCE[:, [1, 2]])
    (pair,) = tukey(table)
    assert pair.found.p == pytest.approx(stats.ttest_rel(REFERENCE[:, 2], REFERENCE[:, 1]).pvalue, rel=1e-5)
    assert [pair.found.low, pair.found.high] == pytest.approx(ends(by_blocks(table, end_weights(2))), rel=1e-5)


def test_the_mixed_model_is_that_of_blocks_where_replicates_differ() -> None:
    """For complete tables REML has the same estimate and standard error."""
    table = table_of(REFERENCE + np.array([[-0.1], [0.0], [0.1]]))
    found, blocks = by_mixed_model(table, LINEAR), by_blocks(table, LINEAR)
    assert (found.estimator, found.freedom) == (MIXED, 6)
    assert ends(found) == pytest.approx(ends(blocks), rel=1e-4)
    sd = float(found.note.removeprefix("sd of replicate "))
    between = 4 * table.values.mean(axis=1).var(ddof=1)
    assert sd == pytest.approx(((between - residual(table)[0]) / 4) ** 0.5, rel=0.05)


def test_a_singular_mixed_model_says_so_and_is_the_pooled_one() -> None:
    """In these replicates levels scatter against each other: REML finds no variance of replicates."""
    own = np.array([[0.02, -0.02, 0.02, -0.02], [-0.02, 0.02, -0.02, 0.02], [0.01, -0.01, -0.01, 0.01]])
    table = table_of(own + np.arange(4) * 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = by_mixed_model(table, LINEAR)
    assert found.note == f"singular: that of the {POOLED}"
    assert ends(found) == pytest.approx(ends(by_pooling(table, LINEAR)))


def test_seed_and_draw_are_two_factors_where_they_are_crossed() -> None:
    rng = np.random.default_rng(1)
    of_seed, of_draw = np.repeat([-0.1, 0.0, 0.1], 2), np.tile([-0.05, 0.05], 3)
    values = 0.01 * rng.standard_normal((6, 4)) + (of_seed + of_draw)[:, None]
    found = by_mixed_model(Replicates(values, (1, 1, 2, 2, 3, 3), (7, 8, 7, 8, 7, 8)), LINEAR)
    parts = dict(part.removeprefix("sd of ").split(" ") for part in found.note.split(", "))
    assert float(parts["seed"]) == pytest.approx(0.1, rel=0.1)
    assert float(parts["draw"]) == pytest.approx(0.07, rel=0.1)
    assert ends(found) == pytest.approx(ends(by_blocks(table_of(values), LINEAR)), abs=2e-3)


def test_numbers_that_agree_exactly_have_no_test() -> None:
    table = table_of(np.tile(np.array([0.1, 0.2, 0.4, 0.8]), (3, 1)))
    for estimator in (*QUICK, by_mixed_model):
        found = estimator(table, end_weights(4)).found
        assert (found.p, found.sd) == (None, 0.0)
        assert found.excluded == pytest.approx(0.7)
    assert all(pair.found.p is None for pair in tukey(table))


# --- by simulation


@pytest.mark.parametrize(
    ("scatter", "covers"),
    [
        ("no replicate effect", {BLOCKS: 0.95, POOLED: 0.95, SLOPES: 0.95}),
        ("shared replicate effect", {BLOCKS: 0.95, POOLED: 0.982, SLOPES: 0.95}),
        ("large replicate effect", {BLOCKS: 0.95, POOLED: 0.997, SLOPES: 0.95}),
        ("one level scatters threefold", {BLOCKS: 0.875, POOLED: 0.866, SLOPES: 0.95}),
    ],
)
def test_intervals_cover_as_the_table_says(scatter: str, covers: dict[str, float]) -> None:
    """Three replicates, as in the reference study."""
    found = dict.fromkeys(covers, 0)
    for table in drawn(scatter, 3, 0.06, 2500):
        for estimator in QUICK:
            contrast = estimator(table, LINEAR)
            low, high = ends(contrast)
            found[contrast.estimator] += low <= 0.06 <= high
    for name, expected in covers.items():
        assert found[name] / 2500 == pytest.approx(expected, abs=0.016), name


def test_blocks_are_nearly_as_powerful_as_pooling_and_far_above_replicate_by_replicate() -> None:
    significant = dict.fromkeys((BLOCKS, POOLED, SLOPES), 0.0)
    for table in drawn("no replicate effect", 3, 0.06, 1500):
        for estimator in QUICK:
            contrast = estimator(table, LINEAR)
            assert contrast.found.p is not None
            significant[contrast.estimator] += (contrast.found.p < 0.05) / 1500
    assert significant[POOLED] == pytest.approx(0.49, abs=0.04)
    assert significant[BLOCKS] == pytest.approx(0.46, abs=0.04)
    assert significant[SLOPES] == pytest.approx(0.25, abs=0.04)


def test_one_of_twenty_families_of_pairs_without_effect_has_a_significant_one() -> None:
    tables = list(drawn("shared replicate effect", 3, 0.0, 1500))
    critical = stats.studentized_range.ppf(0.95, 4, 6)
    largest = [np.ptp(t.values.mean(axis=0)) / (residual(t)[0] / 3) ** 0.5 for t in tables]
    assert np.mean(np.array(largest) > critical) == pytest.approx(0.05, abs=0.017)
    some = next(t for t, value in zip(tables, largest, strict=True) if value > critical)
    assert min(pair.found.p or 1 for pair in tukey(some)) < 0.05


def test_the_mixed_model_covers_less_where_it_falls_back() -> None:
    """Choosing between two fits by the data costs coverage: why it does not decide."""
    covered = {BLOCKS: 0, MIXED: 0}
    for table in drawn("no replicate effect", 2, 0.06, 300):
        for estimator in (by_blocks, by_mixed_model):
            contrast = estimator(table, LINEAR)
            low, high = ends(contrast)
            covered[contrast.estimator] += low <= 0.06 <= high
    assert covered[MIXED] < covered[BLOCKS]
    assert covered[MIXED] / 300 == pytest.approx(0.935, abs=0.04)


def test_near_equal_numbers_are_suspected_in_one_of_a_hundred() -> None:
    sds = np.random.default_rng(3).standard_normal((20_000, 3)).std(axis=1, ddof=1)
    assert np.mean([near_equal(sd, 3, 1.0) for sd in sds]) == pytest.approx(0.01, abs=0.003)
    assert near_equal(0.0012, 3, 0.049)
    assert not near_equal(0.0012, 3, 0.011)
    assert not near_equal(0.0, 3, 0.0)


def main(simulations: int = 6_000) -> None:
    """The table of docs/statistics.md: coverage / power of a rise of 0.06."""
    print("| replicates | scatter | blocks | one-way | replicate by replicate | mixed, else one-way |")
    for n in (2, 3, 5, 9):
        for scatter in SCATTERS:
            print(f"| {n} | {scatter} | {' | '.join(_shares(scatter, n, simulations))} |")


def _shares(scatter: str, n: int, simulations: int) -> Iterator[str]:
    """Coverage and power of each estimator; the mixed model by the rule that REML follows for complete tables."""
    counts = np.zeros((4, 2))
    for table in drawn(scatter, n, 0.06, simulations):
        contrasts = [estimator(table, LINEAR) for estimator in QUICK]
        singular = 4 * table.values.mean(axis=1).var(ddof=1) <= residual(table)[0]
        contrasts.append(contrasts[1] if singular else contrasts[0])
        for i, contrast in enumerate(contrasts):
            low, high = ends(contrast)
            counts[i] += low <= 0.06 <= high, not low <= 0 <= high
    return (f"{coverage:.3f} / {power:.2f}" for coverage, power in counts / simulations)


if __name__ == "__main__":
    main()
