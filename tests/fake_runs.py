"""Made-up runs of a study, with known effects of width and seed, for the tests of what compares them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from worldwidth.comparison.runs import BASE, RETENTION, SKILL, Key, RunScores
from worldwidth.dvcio.experiments import Experiment
from worldwidth.evaluation.scores import DIFFERENCE, Floats, matrix_of
from worldwidth.settings.compute import parameter_count, training_flops, training_steps, vocabulary_size
from worldwidth.settings.schema import Settings

RESAMPLES = 100
TOKENS_A_STEP = 2400


def fake_runs(
    settings: Settings,
    archs: tuple[str, ...] = ("narrow", "base", "wide", "wider"),
    seeds: tuple[int, ...] = (1, 2, 3),
    budgets: tuple[str, ...] = ("epochs",),
    slope: float = 0.05,
    seed_sd: float = 0.03,
) -> list[RunScores]:
    """One run for every arch, seed and budget: scores rise by ``slope`` a width, and scatter between seeds."""
    return [
        fake_run(replace(settings, arch=arch, seed=seed, budget=budget), slope * archs.index(arch), seed_sd)  # type: ignore[arg-type]
        for budget in budgets
        for arch in archs
        for seed in seeds
    ]


def fake_run(settings: Settings, shift: float, seed_sd: float) -> RunScores:
    """One run: trained cells near 0.8 + ``shift``, the others near 0.15 + ``shift``."""
    rng = np.random.default_rng([settings.seed, *f"{settings.arch} {settings.budget}".encode()])
    of_seed = seed_sd * float(np.random.default_rng(settings.seed).standard_normal())  # the same at every width

    def values(mean: float) -> Floats:
        point = mean + of_seed + 0.05 * float(rng.standard_normal())
        drawn: Floats = point + np.concatenate([[0.0], 0.02 * rng.standard_normal(RESAMPLES)])
        return drawn

    cells: dict[Key, Floats] = {}
    for model, trained in settings.finetunes.items():
        for task in settings.tasks:
            level = (0.8 if task in trained else 0.15) + shift
            cells[matrix_of(model), model, task] = values(level)
            cells[RETENTION, model, task] = values(0.7 + shift / 2)
            cells[SKILL, model, task] = values(level - 0.1)
            if len(trained) > 1:
                cells[DIFFERENCE, model, task] = values(shift / 4)
    for task in settings.tasks:
        cells[BASE, "base", task] = values(0.8 + shift / 3)
    experiment = Experiment(f"{settings.arch}-{settings.budget}-s{settings.seed}", "f" * 40, "b" * 40, 1_700_000_000)
    vars(experiment)["settings"] = settings  # what is otherwise read from git
    scale = settings.selected
    parameters = parameter_count(scale.model, settings.selected_arch, vocabulary_size(scale))
    return RunScores(
        experiment=experiment,
        cells=cells,
        raw=dict.fromkeys(cells, 10.0),
        missing=(),
        curve=_curve(settings, parameters),
        totals={
            "pretraining": _total(training_steps(settings, "base"), parameters),
            "finetuning": _total(sum(training_steps(settings, name) for name in settings.finetunes), parameters),
        },
        parameters=parameters,
    )


def _total(steps: int, parameters: int) -> dict[str, int]:
    tokens = steps * TOKENS_A_STEP
    return {"step": steps, "tokens": tokens, "flops": training_flops(parameters, tokens)}


def _curve(settings: Settings, parameters: int) -> pd.DataFrame:
    steps = np.unique(np.geomspace(1, training_steps(settings, "base"), 80).astype(int))
    loss = 1 + 4 * (steps * parameters / 1e5 + 1.0) ** -0.4
    rows = [_total(int(step), parameters) for step in steps]
    table = pd.DataFrame(rows).assign(loss=loss, learning_rate=1e-3, validation_loss=np.nan)
    table.loc[table.index[::10], "validation_loss"] = loss[::10] + 0.1
    return table
