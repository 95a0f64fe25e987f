"""`worldwidth tune`: the fine-tuning learning rate that suits each arch, by the rule in sweep/tuning.py.

Every rate of every arch is an experiment ``tune-...`` of its own, so that what is done is not done again, and the rates
of an arch share its base model.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.core.text import listed, plural
from worldwidth.dvcio.repo import edit_yaml
from worldwidth.evaluation.tables import write_table
from worldwidth.plots.style import save_figure
from worldwidth.plots.tuning import draw_tuning
from worldwidth.settings.axes import shortest
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.questions import Tuning
from worldwidth.settings.rules import finetunes_named
from worldwidth.settings.schema import DEFAULT, Settings
from worldwidth.sweep.attempts import run_trials, tuning_of
from worldwidth.sweep.trials import Setup, Trial
from worldwidth.sweep.tuning import EXTENSIONS, best_trial, rate_beyond, search

FOLDER = Path("results/tuning")


def run_tune(settings: Settings, archs: list[str] | None, jobs: int | None, write: bool, force: bool) -> None:
    """Choose the rate of every arch, print and draw what it was chosen from, and say or write what it is.

    Args:
        archs: None for all of the scale.
        jobs: how many at a time; None for as many as the machine bears.
        write: put the chosen rates into params.yaml.
        force: replace experiments of the same names that are other runs.

    Raises:
        WorldwidthError: an arch is unknown, the scale has no grid, a run's settings cannot be, or some runs failed.
        Stopped: this process was asked to stop; the same command goes on.
    """
    tuning = tuning_of(settings)
    known = list(settings.selected.archs)
    asked = list(dict.fromkeys(archs or known))
    for arch in asked:
        if arch not in known:
            raise WorldwidthError(f"arch '{arch}': allowed: {', '.join(known)}{nearest(arch, known)}")
    setups = [Setup.of(settings, arch) for arch in asked]
    trials = search(tuning.learning_rates, setups, lambda rates: run_trials(settings, rates, jobs, force))
    best = {setup: best_trial(of_setup) for setup, of_setup in trials.items()}
    for setup, trial in best.items():
        if not isfinite(trial.skill):
            rate = shortest(trial.learning_rate)
            raise WorldwidthError(f"{setup.arch}: its training diverges at every rate, {rate} too")
    table = trials_table(trials, best)
    files = _save(settings, tuning, table)
    print()
    _print_table(table)
    for setup, of_setup in trials.items():
        if rate_beyond(of_setup) is not None:
            edge = shortest(best[setup].learning_rate)
            print(
                f"{setup.arch}: {edge} is at the edge of the rates after {EXTENSIONS} extensions: the best may lie "
                "beyond it"
            )
    print(f"written: {listed(list(map(str, files)))}")
    _put(settings, {setup.arch: trial.learning_rate for setup, trial in best.items()}, write)


def trials_table(trials: Mapping[Setup, Sequence[Trial]], best: Mapping[Setup, Trial]) -> pd.DataFrame:
    """One row a trial, and whether its rate is the one that its setup gets."""
    return pd.DataFrame(
        [trial.row() | {"chosen": trial == best[setup]} for setup, of_setup in trials.items() for trial in of_setup]
    )


def _print_table(table: pd.DataFrame) -> None:
    print(f"{'arch':<10} {'rate':>9} {'ratio':>6} {'trained skill':>17} {'transfer':>9}")
    for row in table.to_dict("records"):
        found = (
            f"{row['skill']:>9.3f} ± {row['standard_error']:.3f} {row['transfer']:>9.3f}{'  chosen' * row['chosen']}"
        )
        print(
            f"{row['arch']:<10} {shortest(row['learning_rate']):>9} {row['body_ratio']:>6g}",
            found if isfinite(row["skill"]) else f"{'diverges':>17}",
        )


def _save(settings: Settings, tuning: Tuning, table: pd.DataFrame) -> list[Path]:
    """Write the table and the figure; those of another recipe than the scale's own beside them."""
    name = settings.scale if settings.recipe == DEFAULT else f"{settings.scale}-{settings.recipe}"
    path = FOLDER / f"{name}.csv"
    write_table(table, path)
    caption = [
        *lines_caption(settings, tuning),
        "Bars: standard error over lines. Chosen: the lowest rate within two standard errors of the highest skill. "
        "Where it diverges there is no point.",
    ]
    title = f"Fine-tuning learning rate by arch  (scale {settings.scale}, recipe {settings.recipe})"
    return [path, save_figure(name, lambda: draw_tuning(settings, table, title, caption), FOLDER)]


def lines_caption(settings: Settings, tuning: Tuning) -> list[str]:
    """What skill is over, and of which draw."""
    models = sum(1 for trained in finetunes_named(settings, tuning.only).values() if trained)
    return [
        f"Trained skill: mean over {plural(models, 'fine-tune')} and the tasks each was trained on; 0 is the best "
        f"constant answer, 1 no error. n = {tuning.lines} validation lines a task, of a draw that no result is from "
        f"(world and Atlantis seed {tuning.seed}); seed {settings.seed}.",
    ]


def _put(settings: Settings, rates: Mapping[str, float], write: bool) -> None:
    """Write the chosen rates into params.yaml, or say what would be written."""
    before, changes = settings.selected, dict[str, Any]()
    path = f"scales.{settings.scale}"
    if settings.recipe == DEFAULT:
        new = {arch: rate for arch, rate in rates.items() if before.archs[arch].finetuning.get("learning_rate") != rate}
        for arch, rate in new.items():  # the whole mapping: an arch need not have one yet
            changes[f"{path}.archs.{arch}.finetuning"] = {**before.archs[arch].finetuning, "learning_rate": rate}
        lines = [f"  {path}.archs.{arch}.finetuning.learning_rate: {shortest(rate)}" for arch, rate in new.items()]
    else:
        path += f".recipes.{settings.recipe}.learning_rates"
        there = before.recipes[settings.recipe].learning_rates
        new = {arch: rate for arch, rate in rates.items() if there.get(arch) != rate}
        changes[path] = {**there, **new}
        lines = [f"  {path}.{arch}: {shortest(rate)}" for arch, rate in new.items()]
    if not new:
        print(f"{PARAMS} has these rates already")
        return
    if write:
        edit_yaml(PARAMS, changes)
    print(f"{PARAMS}: {'written' if write else '--write would write'}:", *lines, sep="\n")
