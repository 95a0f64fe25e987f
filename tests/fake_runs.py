"""Made-up runs of a study, with known effects of width, rate and replicate, for the tests of what compares them."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from worldwidth.comparison.runs import BASE, LOG_SKILL, RETENTION, SKILL, Key, RunScores, over_control
from worldwidth.dvcio.experiments import Experiment
from worldwidth.evaluation.scores import CONTROL, DIFFERENCE, Floats, control_of, matrix_of
from worldwidth.settings.compute import parameter_count, training_flops, training_steps
from worldwidth.settings.schema import Settings, finetuned

RESAMPLES = 100
TOKENS_A_STEP = 2400


def fake_runs(
    settings: Settings,
    archs: tuple[str, ...] = ("narrow", "base", "wide", "wider"),
    seeds: tuple[int, ...] = (1, 2, 3),
    budgets: tuple[str, ...] = ("epochs",),
    rates: tuple[float, ...] = (),
    draws: tuple[int, ...] = (42,),
    slope: float = 0.05,
    seed_sd: float = 0.03,
) -> list[RunScores]:
    """One run for every arch, seed, budget, rate of fine-tuning and Atlantis draw.

    Scores rise by ``slope`` an arch, are best at a rate that falls with the width, and scatter between replicates.
    """
    found = []
    for budget, arch, seed, draw, rate in product(budgets, archs, seeds, draws, rates or (None,)):
        run = replace(with_draw(published(settings), draw), arch=arch, seed=seed, budget=budget)  # type: ignore[arg-type]
        shift = slope * archs.index(arch)
        if rate:
            run = with_rate(run, rate)
            shift -= 0.03 * float(np.log2(rate * run.sizes.hidden_size / 0.128)) ** 2
        found.append(fake_run(run, shift, seed_sd))
    return found


def with_scale(settings: Settings, **changes: Any) -> Settings:
    """``settings`` whose selected scale is changed."""
    return replace(settings, scales={**settings.scales, settings.scale: replace(settings.selected, **changes)})


def published(settings: Settings) -> Settings:
    """As the published recipe has it, which is no key of its own here: one rate, 1e-3, for all archs and weights."""
    scale = settings.selected
    archs = {name: replace(arch, finetuning={}) for name, arch in scale.archs.items()}
    own = replace(scale.finetuning, **scale.recipes["published"].finetuning)  # type: ignore[arg-type]
    return with_scale(settings, archs=archs, finetuning=own)


def with_rate(settings: Settings, rate: float) -> Settings:
    """Fine-tuned at another rate."""
    return with_scale(settings, finetuning=replace(settings.selected.finetuning, learning_rate=rate))


def with_draw(settings: Settings, seed: int) -> Settings:
    """On another draw of Atlantis."""
    world = settings.selected.world
    return with_scale(settings, world=replace(world, atlantis=replace(world.atlantis, seed=seed)))


def fake_run(settings: Settings, shift: float, seed_sd: float) -> RunScores:
    """One run: trained cells near 0.8 + ``shift``, the others near 0.15 + ``shift``, the control's near 0.05."""
    scale, rate = settings.selected, settings.finetuning.learning_rate
    draw = scale.world.atlantis.seed
    rng = np.random.default_rng([settings.seed, draw, *f"{settings.arch} {settings.budget} {rate}".encode()])
    of_seed = seed_sd * float(np.random.default_rng([settings.seed, draw]).standard_normal())  # the same for all archs

    def values(mean: float) -> Floats:
        point = mean + of_seed + 0.05 * float(rng.standard_normal())
        drawn: Floats = point + np.concatenate([[0.0], 0.02 * rng.standard_normal(RESAMPLES)])
        return drawn

    cells: dict[Key, Floats] = {}
    for model, trained in settings.finetunes.items():
        for task in settings.tasks:
            level = (0.8 if task in trained else 0.15 if trained else 0.05) + shift
            cells[matrix_of(model), model, task] = values(level)
            cells[RETENTION, model, task] = values(0.7 + shift / 2)
            cells[SKILL, model, task] = values(level - 0.1)
            cells[LOG_SKILL, model, task] = values(2 * level)
            if len(trained) > 1:
                cells[DIFFERENCE, model, task] = values(shift / 4)
    if control := control_of(settings.finetunes):
        for (matrix, model, task), own in list(cells.items()):
            if model == control or task in settings.finetunes[model]:
                continue
            if matrix in (matrix_of(model), SKILL, LOG_SKILL):
                zero = CONTROL if matrix == matrix_of(model) else matrix
                cells[over_control(matrix), model, task] = own - cells[zero, control, task]
    for task in settings.tasks:
        cells[BASE, "base", task] = values(0.8 + shift / 3)
    name = f"{settings.arch}-{settings.budget}-s{settings.seed}{'' if draw == 42 else f'-a{draw}'}"
    name += "" if rate == 1e-3 else f"-lr{rate:g}"
    experiment = Experiment(name, "f" * 40, "b" * 40, 1_700_000_000)
    vars(experiment)["settings"] = settings  # what is otherwise read from git
    parameters = parameter_count(scale, settings.sizes)
    return RunScores(
        experiment=experiment,
        cells=cells,
        raw=dict.fromkeys(cells, 10.0),
        missing=(),
        curve=_curve(settings, parameters),
        totals={
            "pretraining": _total(training_steps(settings, "base"), parameters),
            "finetuning": _total(sum(training_steps(settings, name) for name in finetuned(settings)), parameters),
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
