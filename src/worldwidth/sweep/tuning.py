"""The rule by which a fine-tuning learning rate is chosen for each arch, and the runs that it is chosen from.

The rule, stated before anything is run. Every arch is fine-tuned at every rate of a grid, on a draw of its own: the
world and Atlantis are drawn with ``tuning.seed``, and ``tuning.lines`` validation lines of each task and population
are scored, never the test lines. The score of a rate is its trained skill: the mean, over the fine-tunes and the tasks
that each was trained on, of the skill on Atlantis (``skill`` in comparison/runs.py: 0 is the best constant answer, 1 is
no error). The highest score wins; of rates within 0.001 of it, the lowest rate. Where the best rate is at an edge of
the grid, the grid is extended beyond it by one step of the same ratio, and that arch is asked again: at most three
times, after which the rate at the edge is taken, and said to be there. A rate at which a training diverges is worse
than any other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from worldwidth.comparison.runs import SKILL, RunScores, load_runs, read_run
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.experiments import find_experiments
from worldwidth.settings.axes import ATLANTIS_SEED, shortest, value_of
from worldwidth.settings.rules import broken_rule
from worldwidth.settings.schema import Finetuning, Scalar, Settings, Tuning
from worldwidth.sweep.variants import Variant, name_of

EXTENSIONS = 3
"""Times that the grid of an arch may be extended."""
TIE = 1e-3
_USUAL = {"finetuning_budget": "epochs", "parametrization": "standard", "finetuning.trainable": "all"}
"""Settings that are in a run's name only where they are otherwise."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One arch fine-tuned at one rate, and how well."""

    arch: str
    learning_rate: float
    embedding_learning_rate: float | None
    skill: float
    """Trained skill: what the choice is made by."""
    standard_error: float
    """Of ``skill``, over validation lines."""
    transfer: float
    """Mean skill in the tasks that a fine-tune was not trained on: for information."""


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The one that the rule chooses among those of an arch."""
    highest = max(trial.skill for trial in trials)
    return min(
        (trial for trial in trials if trial.skill >= highest - TIE - 1e-12), key=lambda trial: trial.learning_rate
    )


def did_diverge(reason: str) -> bool:
    """Whether a run failed for its rate, by what is said of it."""
    return "try a lower learning_rate" in reason


def diverged_trial(arch: str, rate: float, own: Finetuning) -> Trial:
    """That of a rate at which a training of ``arch`` diverges; ``own`` is its fine-tuning."""
    return Trial(
        arch=arch,
        learning_rate=rate,
        embedding_learning_rate=embedding_rate(own, rate),
        skill=float("-inf"),
        standard_error=float("nan"),
        transfer=float("nan"),
    )


def rate_beyond(trials: Sequence[Trial]) -> float | None:
    """The rate to try next where the best one of an arch is at an edge of those tried; None where it is inside."""
    rates, best = sorted(trial.learning_rate for trial in trials), best_trial(trials).learning_rate
    neighbours = {rates[0]: rates[1], rates[-1]: rates[-2]}
    return _rounded(best * best / neighbours[best]) if best in neighbours else None


def search(
    grid: Sequence[float], archs: Sequence[str], attempt: Callable[[dict[str, list[float]]], list[Trial]]
) -> dict[str, list[Trial]]:
    """The trials of every arch, by rising rate, once the best is inside or the grid is as long as it may get.

    Args:
        attempt: runs archs at their rates.
    """
    trials: dict[str, list[Trial]] = {arch: [] for arch in archs}
    waiting = {arch: list(grid) for arch in archs}
    for extension in range(1 + EXTENSIONS):
        for arch, rate in ((arch, rate) for arch, rates in waiting.items() for rate in rates if extension):
            edge = best_trial(trials[arch]).learning_rate
            print(f"{arch}: {shortest(edge)}, the best so far, is at the edge of what was tried: {shortest(rate)} too")
        for trial in attempt(waiting):
            trials[trial.arch].append(trial)
        further = {arch: rate_beyond(trials[arch]) for arch in waiting}
        waiting = {arch: [rate] for arch, rate in further.items() if rate is not None}
        if not waiting:
            break
    return {arch: sorted(found, key=lambda trial: trial.learning_rate) for arch, found in trials.items()}


def embedding_rate(own: Finetuning, rate: float) -> float | None:
    """The embedding's rate beside ``rate``: as many times as high as in ``own``, or None where it has none."""
    if own.embedding_learning_rate is None:
        return None
    return _rounded(rate * own.embedding_learning_rate / own.learning_rate)


def _rounded(rate: float) -> float:
    """Three digits, as somebody would write a rate."""
    return float(f"{rate:.3g}")


def tuning_variant(settings: Settings, tuning: Tuning, arch: str, rate: float) -> Variant:
    """The run of ``arch`` at ``rate`` on the tuning draw.

    Raises:
        WorldwidthError: its settings cannot be.
    """
    draw: dict[str, Scalar] = {
        "world.seed": tuning.seed,
        ATLANTIS_SEED: tuning.seed,
        "corpus.world.validation": tuning.lines,
        "corpus.atlantis.validation": tuning.lines,
        "evaluation.split": "validation",
    }
    named: dict[str, Scalar] = {"arch": arch, "finetuning.learning_rate": rate}
    own = replace(settings, arch=arch)
    named |= {axis: value_of(own, axis) for axis, usual in _USUAL.items() if value_of(own, axis) != usual}
    beside = embedding_rate(own.finetuning, rate)
    if beside is not None:
        named["finetuning.embedding_learning_rate"] = beside
    name = f"tune-{name_of(settings, tuple(named.items()))}"
    variant = Variant(name, tuple({**named, **draw}.items()), tuning.only)
    if problem := broken_rule(variant.of(settings)):
        raise WorldwidthError(f"{name}: {problem}")
    return variant


def read_trials(variants: Mapping[tuple[str, float], Variant], cache: Path, resamples: int) -> list[Trial]:
    """How well the finished runs of these archs and rates did, in this order.

    Args:
        cache: DVC's cached files by their hash, where the per-line scores are.

    Raises:
        WorldwidthError: one is not there, is damaged, or lacks models.
    """
    if not variants:
        return []
    experiments = find_experiments([variant.name for variant in variants.values()])
    runs = load_runs([read_run(experiment, cache) for experiment in experiments], resamples)
    return [_trial(run, arch, rate) for run, (arch, rate) in zip(runs, variants, strict=True)]


def _trial(run: RunScores, arch: str, rate: float) -> Trial:
    if run.missing:
        raise WorldwidthError(
            f"{run.experiment.name}: the scores of {', '.join(run.missing)} are not in DVC's cache; `dvc exp pull` "
            f"fetches them, or `dvc exp remove {run.experiment.name}` and the same command makes them again"
        )
    trained, other = (
        [values for key, values in run.cells.items() if _counts(run, key, which)] for which in (True, False)
    )
    if not trained:
        raise WorldwidthError(f"{run.experiment.name}: no task that its fine-tunes were trained on can be measured")
    mean = np.mean(trained, axis=0)
    return Trial(
        arch=arch,
        learning_rate=rate,
        embedding_learning_rate=run.experiment.settings.finetuning.embedding_learning_rate,
        skill=float(mean[0]),
        standard_error=float(mean[1:].std()),
        transfer=float(np.mean([values[0] for values in other])) if other else float("nan"),
    )


def _counts(run: RunScores, key: tuple[str, str, str], trained: bool) -> bool:
    """Whether a cell is a skill that can be measured, of a task that its model was trained on, or was not."""
    matrix, model, task = key
    return matrix == SKILL and run.trained(model, task) is trained and bool(np.isfinite(run.cells[key][0]))
