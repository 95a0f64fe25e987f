"""Trials: fine-tunings at some rate on a draw that no result is from, and how well they did.

The world and Atlantis are drawn with ``tuning.seed``, and ``tuning.lines`` validation lines of each task and population
are scored, never the test lines.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldwidth.comparison.runs import RETENTION, SKILL, RunScores, load_runs, over_control, read_run
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.experiments import find_experiments
from worldwidth.evaluation.scores import Floats, matrix_of
from worldwidth.settings.axes import ATLANTIS_SEED, value_of
from worldwidth.settings.questions import Tuning
from worldwidth.settings.rules import broken_rule
from worldwidth.settings.schema import Settings, is_plug_in
from worldwidth.settings.values import Scalar
from worldwidth.sweep.variants import Variant, name_of

_USUAL = {
    "recipe": "default", "finetuning_budget": "epochs", "parametrization": "standard", "finetuning.trainable": "all"
}  # fmt: skip
"""Settings that are in a run's name only where they are otherwise."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is fine-tuned, but for the rate."""

    arch: str
    recipe: str
    body_ratio: float
    trainable: str
    replicate: int = 0
    """So much higher are the seed and that of the Atlantis draw."""

    @classmethod
    def of(cls, settings: Settings, arch: str, **changes: Any) -> "Setup":
        """``arch`` as ``settings`` fine-tunes it."""
        own = replace(settings, arch=arch).finetuning
        found = cls(arch=arch, recipe=settings.recipe, body_ratio=own.body_ratio, trainable=own.trainable)
        return replace(found, **changes)

    @property
    def label(self) -> str:
        """What a message calls it."""
        what = "new rows" if self.trainable == "new_embeddings" else f"body ratio {self.body_ratio:g}"
        return f"{self.arch}, {what}"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A setup fine-tuned at one rate, and how well: means over fine-tunes and tasks; NaN where there are none."""

    setup: Setup
    learning_rate: float
    skill: float = float("-inf")
    """Trained skill on Atlantis: what a rate is chosen by. 0 is the best constant answer, 1 no error."""
    standard_error: float = float("nan")
    """Of ``skill``, over validation lines."""
    transfer: float = float("nan")
    """Skill in the tasks that a fine-tune was not trained on."""
    trained: float = float("nan")
    """Normalised improvement in the trained tasks."""
    above: float = float("nan")
    """Normalised improvement in the other tasks minus that of the control."""
    retention: float = float("nan")
    """In the other tasks, on ordinary cities: 1 as before fine-tuning."""

    def row(self) -> dict[str, Any]:
        """Its columns in a table."""
        values = asdict(self)
        return {**values.pop("setup"), **values}


def trial_variant(settings: Settings, tuning: Tuning, setup: Setup, rate: float) -> Variant:
    """The run of ``setup`` at ``rate`` on the tuning draw.

    Raises:
        WorldwidthError: its settings cannot be.
    """
    draw: dict[str, Scalar] = {
        "world.seed": tuning.seed,
        "corpus.world.validation": tuning.lines,
        "corpus.atlantis.validation": tuning.lines,
        "evaluation.split": "validation",
    }
    values: dict[str, Scalar] = {
        "arch": setup.arch,
        "seed": settings.seed + setup.replicate,
        ATLANTIS_SEED: tuning.seed + setup.replicate,
        "recipe": setup.recipe,
        "finetuning.learning_rate": rate,
        "finetuning.body_ratio": setup.body_ratio,
        "finetuning.trainable": setup.trainable,
        **{axis: value_of(settings, axis) for axis in ("finetuning_budget", "parametrization")},
    }
    named = {axis: value for axis, value in values.items() if _USUAL.get(axis) != value and axis != ATLANTIS_SEED}
    name = f"tune-{name_of(settings, tuple(named.items()))}"
    variant = Variant(name, tuple({**values, **draw}.items()), tuning.only)
    if problem := broken_rule(variant.of(settings)):
        raise WorldwidthError(f"{name}: {problem}")
    return variant


def read_trials(variants: Mapping[tuple[Setup, float], Variant], cache: Path, resamples: int) -> list[Trial]:
    """How well the finished runs of these setups and rates did, in this order.

    Args:
        cache: DVC's cached files by their hash, where the per-line scores are.

    Raises:
        WorldwidthError: one is not there, is damaged, or lacks models.
    """
    if not variants:
        return []
    experiments = find_experiments([variant.name for variant in variants.values()])
    runs = load_runs([read_run(experiment, cache) for experiment in experiments], resamples)
    return [_trial(run, setup, rate) for run, (setup, rate) in zip(runs, variants, strict=True)]


def _trial(run: RunScores, setup: Setup, rate: float) -> Trial:
    if run.missing:
        raise WorldwidthError(
            f"{run.experiment.name}: the scores of {', '.join(run.missing)} are not in DVC's cache; `dvc exp pull` "
            f"fetches them, or `dvc exp remove {run.experiment.name}` and the same command makes them again"
        )
    skills = list(_cells(run, SKILL, trained=True))
    if not skills:
        raise WorldwidthError(f"{run.experiment.name}: no task that its fine-tunes were trained on can be measured")
    drawn = np.mean(skills, axis=0)
    return Trial(
        setup=setup,
        learning_rate=rate,
        skill=float(drawn[0]),
        standard_error=float(drawn[1:].std()),
        transfer=_mean(list(_cells(run, SKILL, trained=False))),
        trained=_mean(list(_cells(run, None, trained=True))),
        above=_mean(
            [values for matrix in _matrices(run) for values in _cells(run, over_control(matrix), trained=False)]
        ),
        retention=_mean(list(_cells(run, RETENTION, trained=False))),
    )


def _matrices(run: RunScores) -> list[str]:
    return list(dict.fromkeys(map(matrix_of, run.settings.finetunes)))


def _cells(run: RunScores, matrix: str | None, trained: bool) -> Iterator[Floats]:
    """The measurable cells of a matrix, or (None) the models' own, of fine-tunes: trained, or the others."""
    for (name, model, task), values in run.cells.items():
        if model == "base" or is_plug_in(model) or not run.settings.finetunes[model] or not np.isfinite(values[0]):
            continue
        if name == (matrix or matrix_of(model)) and run.trained(model, task) is trained:
            yield values


def _mean(cells: Sequence[Floats]) -> float:
    return float(np.mean([values[0] for values in cells])) if cells else float("nan")
