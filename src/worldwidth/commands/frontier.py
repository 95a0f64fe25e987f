"""`worldwidth frontier`: the ratio of the body's rate to the embedding's, by the rule in sweep/frontier.py."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from worldwidth.commands.tune import FOLDER, lines_caption, trials_table
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import plural
from worldwidth.evaluation.tables import write_table
from worldwidth.plots.frontier import draw_frontier
from worldwidth.plots.style import save_figure
from worldwidth.settings.axes import shortest
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.sweep.attempts import run_trials, tuning_of
from worldwidth.sweep.frontier import LEAST_TRAINED, PUBLISHED, choose_ratio, frontier_setups
from worldwidth.sweep.trials import Setup, Trial
from worldwidth.sweep.tuning import best_trial, search


def run_frontier(settings: Settings, jobs: int | None, force: bool) -> None:
    """Run every ratio, print, write and draw what they give, and say which one the rule chooses.

    Args:
        jobs: how many at a time; None for as many as the machine bears.
        force: replace experiments of the same names that are other runs.

    Raises:
        WorldwidthError: the scale has no frontier, a run's settings cannot be, some runs failed, or no ratio is sound.
        Stopped: this process was asked to stop; the same command goes on.
    """
    tuning = tuning_of(settings)
    if tuning.frontier is None:
        raise WorldwidthError(f"{PARAMS}: scales.{settings.scale}.tuning.frontier: not there; it says which ratios")

    def attempt(rates: dict[Setup, list[float]]) -> list[Trial]:
        return run_trials(settings, rates, jobs, force)

    trials = search(tuning.frontier.learning_rates, frontier_setups(settings, tuning), attempt)
    best = {setup: best_trial(of_setup) for setup, of_setup in trials.items()}
    further = {
        replace(setup, replicate=replicate): [trial.learning_rate]
        for replicate in range(1, tuning.frontier.replicates)
        for setup, trial in best.items()
    }
    repeated = attempt(further) + attempt(_published(settings, tuning.frontier.archs, tuning.frontier.replicates))
    chosen = [*best.values(), *repeated]
    table = pd.concat(
        [trials_table(trials, best), pd.DataFrame([trial.row() | {"chosen": True} for trial in repeated])]
    )
    path = FOLDER / f"{settings.scale}-frontier.csv"
    write_table(table, path)
    ratio = choose_ratio(chosen, settings.reference)
    caption = [
        *lines_caption(settings, tuning),
        f"n = {plural(tuning.frontier.replicates, 'replicate')} (seed and Atlantis draw); large points: means, small: "
        "replicates. Each at the rate that suits its trained skill on the first replicate.",
        f"Chosen: of the ratios with a trained score of at least {LEAST_TRAINED} and a retention no lower than at "
        f"ratio 1 ({settings.reference}), the highest whose transfer is within two standard errors of the best.",
    ]
    title = f"Ratio of the body's rate to the embedding's  (scale {settings.scale})"
    rows = pd.DataFrame([trial.row() for trial in chosen])
    figure = save_figure(
        f"{settings.scale}-frontier", lambda: draw_frontier(settings, rows, ratio, title, caption), FOLDER
    )
    _print_means(rows)
    print(f"chosen: body_ratio {shortest(ratio)}; in {PARAMS}: {settings.selected.finetuning.body_ratio:g}")
    print(f"written: {path} and {figure}")


def _published(settings: Settings, archs: Sequence[str], replicates: int) -> dict[Setup, list[float]]:
    """The published recipe at its own rate, in every replicate."""
    if PUBLISHED not in settings.selected.recipes:
        raise WorldwidthError(f"{PARAMS}: scales.{settings.scale}.recipes.{PUBLISHED}: not there; it is shown beside")
    own = replace(settings, recipe=PUBLISHED)
    return {
        Setup.of(own, arch, replicate=replicate): [replace(own, arch=arch).finetuning.learning_rate]
        for replicate in range(replicates)
        for arch in archs
    }


def _print_means(rows: pd.DataFrame) -> None:
    """Means over replicates."""
    keys, measured = ["arch", "recipe", "trainable", "body_ratio"], ["learning_rate", "trained", "above", "retention"]
    print(rows.groupby(keys, sort=False)[measured].mean().round(3).reset_index().to_string(index=False))
