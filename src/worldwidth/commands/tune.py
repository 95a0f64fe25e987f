"""`worldwidth tune`: the fine-tuning learning rate that suits each arch, by the rule in sweep/tuning.py.

Every rate of every arch is an experiment ``tune-...`` of its own, so that what is done is not done again, and the rates
of an arch share its base model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.core.text import listed, plural
from worldwidth.dvcio.repo import edit_yaml, open_repo
from worldwidth.evaluation.tables import write_table
from worldwidth.plots.style import save_figure
from worldwidth.plots.tuning import draw_tuning
from worldwidth.settings.axes import ATLANTIS_SEED, shortest
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.rules import finetunes_named
from worldwidth.settings.schema import Settings, Tuning
from worldwidth.sweep.run import FailedRunsError, run_sweep
from worldwidth.sweep.tuning import (
    EXTENSIONS,
    TIE,
    Trial,
    best_trial,
    did_diverge,
    diverged_trial,
    rate_beyond,
    read_trials,
    search,
    tuning_variant,
)
from worldwidth.sweep.variants import Variant

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
    tuning = _tuning_of(settings)
    known = list(settings.selected.archs)
    asked = list(dict.fromkeys(archs or known))
    for arch in asked:
        if arch not in known:
            raise WorldwidthError(f"arch '{arch}': allowed: {', '.join(known)}{nearest(arch, known)}")

    def attempt(rates: dict[str, list[float]]) -> list[Trial]:
        pairs = [(arch, rate) for arch, of_arch in rates.items() for rate in of_arch]
        variants = {pair: tuning_variant(settings, tuning, *pair) for pair in pairs}
        failed = _run(settings, list(variants.values()), jobs, force)
        done = {pair: variant for pair, variant in variants.items() if variant.name not in failed}
        with open_repo() as repo:
            cache = Path(repo.cache.local.path)  # its files by hash
        found = read_trials(done, cache, settings.selected.statistics.resamples)
        return found + [
            diverged_trial(*pair, replace(settings, arch=pair[0]).finetuning) for pair in pairs if pair not in done
        ]

    trials = search(tuning.learning_rates, asked, attempt)
    best = {arch: best_trial(of_arch) for arch, of_arch in trials.items()}
    for arch, trial in best.items():
        if not isfinite(trial.skill):
            raise WorldwidthError(f"{arch}: its training diverges at every rate, {shortest(trial.learning_rate)} too")
    table = _table(trials, best)
    files = _save(settings, tuning, table)
    print()
    _print_table(table)
    for arch, of_arch in trials.items():
        if rate_beyond(of_arch) is not None:
            edge = shortest(best[arch].learning_rate)
            print(
                f"{arch}: {edge} is at the edge of the rates after {EXTENSIONS} extensions: the best may lie beyond it"
            )
    print(f"written: {listed(list(map(str, files)))}")
    _put(settings, best, write)


def _run(settings: Settings, variants: list[Variant], jobs: int | None, force: bool) -> set[str]:
    """Run what is not done yet; return the names of the runs that diverged.

    Raises:
        FailedRunsError: some failed for another reason.
    """
    try:
        run_sweep(settings, variants, jobs, force)
    except FailedRunsError as error:
        if not all(map(did_diverge, error.reasons.values())):
            raise
        return set(error.reasons)
    return set()


def _tuning_of(settings: Settings) -> Tuning:
    """What the scale says on tuning.

    Raises:
        WorldwidthError: nothing, it names no fine-tune of a task, or its draw is the study's.
    """
    path, tuning = f"scales.{settings.scale}.tuning", settings.selected.tuning
    if tuning is None:
        raise WorldwidthError(f"{PARAMS}: {path}: not there; it says which rates are tried, and on which draw")
    if not any(finetunes_named(settings, tuning.only).values()):
        raise WorldwidthError(f"{PARAMS}: {path}.only: found {list(tuning.only)}; none of these is trained on a task")
    world = settings.selected.world
    for key, seed in (("world.seed", world.seed), (ATLANTIS_SEED, world.atlantis.seed)):
        if tuning.seed == seed:
            raise WorldwidthError(
                f"{PARAMS}: {path}.seed: found {seed}, which is {key}; rates are chosen on another draw than that of "
                "the results"
            )
    return tuning


def _table(trials: Mapping[str, Sequence[Trial]], best: Mapping[str, Trial]) -> pd.DataFrame:
    """One row a trial, and whether its rate is the one that its arch gets."""
    rows = [asdict(trial) | {"chosen": trial == best[arch]} for arch, of_arch in trials.items() for trial in of_arch]
    return pd.DataFrame(rows)


def _print_table(table: pd.DataFrame) -> None:
    print(f"{'arch':<10} {'rate':>9} {'embedding':>9} {'trained skill':>17} {'transfer':>9}")
    for row in table.to_dict("records"):
        beside = row["embedding_learning_rate"]
        found = (
            f"{row['skill']:>9.3f} ± {row['standard_error']:.3f} {row['transfer']:>9.3f}{'  chosen' * row['chosen']}"
        )
        print(
            f"{row['arch']:<10} {shortest(row['learning_rate']):>9} {'-' if pd.isna(beside) else shortest(beside):>9}",
            found if isfinite(row["skill"]) else f"{'diverges':>17}",
        )


def _save(settings: Settings, tuning: Tuning, table: pd.DataFrame) -> list[Path]:
    """Write the table and the figure."""
    path = FOLDER / f"{settings.scale}.csv"
    write_table(table, path)
    models = sum(1 for trained in finetunes_named(settings, tuning.only).values() if trained)
    caption = [
        f"Trained skill: mean over {plural(models, 'fine-tune')} and the tasks each was trained on; 0 is the best "
        f"constant answer, 1 no error. n = {tuning.lines} validation lines a task, of a draw that no result is from "
        f"(world and Atlantis seed {tuning.seed}); one seed ({settings.seed}). Bars: standard error over lines.",
        f"Chosen: the highest; of those within {TIE:g} of it, the lowest rate. Where it diverges there is no point.",
    ]
    title = f"Fine-tuning learning rate by arch  (scale {settings.scale}, budget {settings.budget})"
    return [path, save_figure(settings.scale, lambda: draw_tuning(settings, table, title, caption), FOLDER)]


def _put(settings: Settings, best: Mapping[str, Trial], write: bool) -> None:
    """Write the chosen rates into params.yaml, or say what would be written."""
    changes: dict[str, Any] = {}
    lines: list[str] = []
    for arch, trial in best.items():
        wanted = {"learning_rate": trial.learning_rate}
        if trial.embedding_learning_rate is not None:
            wanted["embedding_learning_rate"] = trial.embedding_learning_rate
        there, path = settings.selected.archs[arch].finetuning, f"scales.{settings.scale}.archs.{arch}.finetuning"
        new = {f"{path}.{key}": rate for key, rate in wanted.items() if there.get(key) != rate}
        lines += [f"  {key}: {shortest(rate)}" for key, rate in new.items()]
        changes |= new if there else {path: wanted}
    if not changes:
        print(f"{PARAMS} has these rates already")
        return
    if write:
        edit_yaml(PARAMS, changes)
    print(f"{PARAMS}: {'written' if write else '--write would write'}:", *lines, sep="\n")
