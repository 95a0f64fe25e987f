"""Fixtures: comparisons of made-up runs, whole and damaged, by width and by rate. No figure of them may be kept."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from fake_runs import fake_runs
from worldwidth.comparison.runs import RunScores
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
RATE = "finetuning.learning_rate"
RATES = (5e-4, 1e-3, 4e-3, 8e-3)


@pytest.fixture
def no_figure_is_kept() -> Iterator[None]:
    """None of the figures is registered with pyplot, so that nobody need close one."""
    yield
    assert not plt.get_fignums()


@pytest.fixture(scope="module")
def small_matrix() -> Settings:
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
def comparison(small_matrix: Settings) -> Comparison:
    """Three widths and three seeds under their own epochs; two widths and one seed under equal FLOPs."""
    epochs = fake_runs(small_matrix, archs=("narrow", "wide", "wider"))
    return compare(damaged(epochs + fake_runs(small_matrix, archs=("narrow", "wide"), seeds=(2,), budgets=("flops",))))


@pytest.fixture(scope="module")
def one_seed(small_matrix: Settings) -> Comparison:
    return compare(fake_runs(small_matrix, archs=("narrow", "wide"), seeds=(42,)))


@pytest.fixture(scope="module")
def one_width(small_matrix: Settings) -> Comparison:
    return compare(fake_runs(small_matrix, archs=("wide",)))


@pytest.fixture(scope="module")
def controlled(small_matrix: Settings) -> Settings:
    """With the model of no task."""
    return replace(small_matrix, finetunes={"ftwb0-0": (), **small_matrix.finetunes})


@pytest.fixture(scope="module")
def curves_over_rates(controlled: Settings) -> Comparison:
    """Three archs, one of them deep, at four rates; three replicates."""
    return compare(fake_runs(controlled, archs=("narrow", "deep", "wide"), rates=RATES), by=("arch", RATE))
