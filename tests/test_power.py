"""What a sweep's replicates can tell: against other formulas and by simulation. `pytest tests/test_power.py`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from worldwidth.commands.plan_sweep import print_sweep_plan
from worldwidth.comparison.blocks import Replicates, by_blocks, end_weights, linear_weights, residual
from worldwidth.comparison.power import PlannedTest, detectable, power, replicates_for
from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.schema import Settings

LINEAR, PAIR = PlannedTest(4, linear_weights([16, 32, 64, 128])), PlannedTest(4, None)


@pytest.mark.parametrize(("n", "difference"), [(3, 0.1), (5, 0.05), (9, 0.04)])
def test_of_two_levels_it_is_the_power_of_the_paired_t_test(n: int, difference: float) -> None:
    theirs = TTestPower().power(difference / (0.03 * 2**0.5), n, 0.05)
    assert power(PlannedTest(2, end_weights(2)), n, difference, 0.03) == pytest.approx(theirs, abs=1e-4)
    assert power(PlannedTest(2, None), n, difference, 0.03) == pytest.approx(theirs, abs=1e-4)


def test_without_a_difference_it_is_the_risk() -> None:
    assert power(LINEAR, 3, 0.0, 0.03) == pytest.approx(0.05, abs=1e-3)
    assert power(PAIR, 3, 0.0, 0.03) < 0.02  # of one pair among six


def test_the_detectable_difference_is_found_in_eight_of_ten_studies() -> None:
    """A rise by this much, and a pair that differs by this much, in made-up tables of three replicates."""
    rng, sd, n = np.random.default_rng(2), 0.035, 3
    rise, apart = detectable(LINEAR, n, sd), detectable(PAIR, n, sd)
    assert rise is not None
    assert apart is not None
    assert LINEAR.weights is not None
    critical, found = stats.studentized_range.ppf(0.95, 4, 6), np.zeros(2)
    for _ in range(1500):
        values = sd * rng.standard_normal((n, 4)) + 0.05 * rng.standard_normal((n, 1))
        p = by_blocks(Replicates(values + rise * np.arange(4) / 3, (), ()), LINEAR.weights).found.p
        values[:, 1] += apart
        q = np.diff(values.mean(axis=0)[:2])[0] / (residual(Replicates(values, (), ()))[0] / n) ** 0.5
        found += (p is not None and p < 0.05), abs(q) > critical
    assert found / 1500 == pytest.approx([0.8, 0.8], abs=0.03)


def test_replicates_for_a_difference_are_the_fewest() -> None:
    for design in (LINEAR, PAIR):
        n = replicates_for(design, 0.05, 0.0345)
        assert n is not None
        assert power(design, n, 0.05, 0.0345) >= 0.8 > power(design, n - 1, 0.05, 0.0345)
    assert replicates_for(PlannedTest(4, end_weights(4)), 0.05, 0.0345) == 9
    assert replicates_for(LINEAR, 0.001, 0.0345) is None
    assert detectable(LINEAR, 1, 0.0345) is None


def test_two_replicates_of_two_levels_tell_something() -> None:
    """t with one degree of freedom, where scipy's noncentral t has no number."""
    found = detectable(PlannedTest(2, None), 2, 0.0345)
    assert found == pytest.approx(0.564, abs=2e-3)


# --- worldwidth plan --sweep


def test_a_sweep_is_planned_by_what_it_can_tell(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    print_sweep_plan(settings, "widths", 3, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["replicates"], found["levels"]) == (12, 3, ["narrow", "base", "wide", "wider"])
    assert settings.analysis is not None
    assert (found["metric"], found["sd"]) == (settings.analysis.primary, settings.analysis.sd)
    contrast, pair = found["tests"]
    assert contrast["detectable"] == pytest.approx(detectable(LINEAR, 3, 0.035))
    assert contrast["a_doubling"] == pytest.approx(contrast["detectable"] / 3)
    assert (contrast["replicates_needed"], pair["replicates_needed"]) == (8, 13)
    print_sweep_plan(settings, "widths", None, as_json=False)
    printed = capsys.readouterr().out
    assert "sweep widths: 4 runs, arch narrow, base, wide, wider, 1 replicate\n" in printed
    assert "linear, narrow to wider" in printed


def test_what_was_measured_is_taken(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest comparison of this scale and metric, the arms pooled."""
    monkeypatch.chdir(tmp_path)
    assert settings.analysis is not None
    rows = [("primary", 0.03), ("sensitivity", 9.0), ("primary", 0.04), ("pair", 9.0)]
    for name, time, scale, factor in (
        ("new", "2026", "laptop", 1),
        ("old", "2025", "laptop", 5),
        ("small", "2027", "smoke", 7),
    ):
        folder = Path("results/comparison") / name
        folder.mkdir(parents=True)
        estimators = {"sensitivity": "mixed model"}
        lines = [
            f"{role},{settings.analysis.primary},{estimators.get(role, 'replicates as blocks')},{factor * sd}\n"
            for role, sd in rows
        ]
        (folder / "primary.csv").write_text("role,metric,estimator,sd\n" + "".join(lines))
        (folder / "provenance.json").write_text(json.dumps({"time": time, "params": f"scale: {scale}\n"}))
    print_sweep_plan(settings, "depth", None, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["sd"] == pytest.approx(((0.03**2 + 0.04**2) / 2) ** 0.5)
    assert found["sd_from"] == "as measured in results/comparison/new/primary.csv"


def test_without_an_analysis_there_is_nothing_to_plan_by(settings: Settings) -> None:
    with pytest.raises(WorldwidthError, match=r"params.yaml: analysis: missing; it must be set"):
        print_sweep_plan(replace(settings, analysis=None), "widths", None, as_json=False)
