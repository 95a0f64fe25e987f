"""Variants: the runs of a sweep. Each is the study of params.yaml turned to some values, and has a name.

A name is ``{arch}-{budget}-s{seed}``, and then:

- the scale, where the sweep has one of its own;
- ``-a43``, where the Atlantis seed is not that of the scale;
- a part for every other axis that the sweep varies: ``-lr4e-3``, ``-mup``, or for one that has no short word the whole
  key, as ``-finetuning.batch_size=32``;
- ``-WORD`` of ``--suffix WORD``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from pydantic import ValidationError

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.settings.axes import (
    ATLANTIS_SEED,
    Values,
    all_axes,
    edits,
    parse_value,
    shortest,
    value_of,
    with_edits,
)
from worldwidth.settings.problems import describe
from worldwidth.settings.questions import Sweep
from worldwidth.settings.rules import broken_rule, finetunes_named, sweep_problems
from worldwidth.settings.schema import Settings

_HEAD = ("arch", "budget", "seed")
_WORDS = {
    ATLANTIS_SEED: "a",
    "world.seed": "w",
    "finetuning_budget": "ft",
    "reference": "ref",
    "finetuning.learning_rate": "lr",
    "finetuning.body_ratio": "br",
    "pretraining.learning_rate": "plr",
    "pretraining.body_ratio": "pbr",
    "parametrization": "",
    "recipe": "",
    "finetuning.trainable": "",
    "evaluation.split": "",
}
"""Axis -> what stands before its value in a name."""
_ORDER = {"seed": 0, ATLANTIS_SEED: 1, "arch": 3}


@dataclass(frozen=True)
class Variant:
    """One run of a sweep."""

    name: str
    """The experiment's."""
    values: Values
    only: tuple[str, ...] = ()
    """Fine-tunes that are trained, by name or by the start of it; empty for all."""
    scale: str | None = None
    """None for that of params.yaml."""

    def at_scale(self, settings: Settings) -> Settings:
        """``settings`` at the scale of this variant, and otherwise as they are."""
        return replace(settings, scale=self.scale or settings.scale)

    def of(self, settings: Settings) -> Settings:
        """``settings`` turned to this variant.

        Raises:
            WorldwidthError: a value, or a fine-tune, is none that can be.
        """
        return with_edits(settings, self.edits(settings))

    def edits(self, settings: Settings) -> dict[str, Any]:
        """The same of params.yaml, which holds ``settings``: dotted key -> value.

        One that trains some fine-tunes only has no sweeps and no tuning, which may name others.
        """
        found = edits(self.at_scale(settings), self.values) | ({"scale": self.scale} if self.scale else {})
        if self.only:
            found["finetunes"] = {name: list(tasks) for name, tasks in finetunes_named(settings, self.only).items()}
            found |= {"sweeps": {}} if settings.sweeps else {}
            found |= {f"scales.{name}.tuning": None for name, scale in settings.scales.items() if scale.tuning}
        return found


def name_of(settings: Settings, values: Values, suffix: str = "", scale: str | None = None) -> str:
    """What the run with these values is called, at a scale of its own if there is one."""
    given = dict(values)
    own = value_of(settings, ATLANTIS_SEED)
    arch, budget, seed = (given.get(axis, value_of(settings, axis)) for axis in _HEAD)
    further = [axis for axis in given if axis not in _HEAD and (axis != ATLANTIS_SEED or given[axis] != own)]
    parts = [f"{_WORDS.get(axis, f'{axis}=')}{_plain(given[axis])}" for axis in further]
    return "-".join(filter(None, [f"{arch}-{budget}-s{seed}", scale, *parts, suffix]))


def _plain(value: Any) -> str:
    """A value as a part of a git ref."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", value) if isinstance(value, str) else shortest(value)


def chosen_sweep(
    settings: Settings,
    name: str | None,
    vary: Sequence[tuple[str, Sequence[str]]],
    replicates: int | None = None,
    only: Sequence[str] | None = None,
) -> Sweep:
    """The sweep ``name`` of params.yaml with what a command line adds, or replaces.

    Args:
        name: None for one that varies only what the command line says.
        vary: axes and their values as text.

    Raises:
        WorldwidthError: there is none of that name, or a value is not YAML.
    """
    found = Sweep(vary={})
    if name is not None:
        if name not in settings.sweeps:
            known = list(settings.sweeps)
            raise WorldwidthError(
                f"sweep '{name}': not in params.yaml; there: {', '.join(known) or 'none'}{nearest(name, known)}"
            )
        found = settings.sweeps[name]
    given = {axis: tuple(parse_value(axis, text) for text in texts) for axis, texts in vary}
    if replicates is None:
        replicates = 1 if {"seed", ATLANTIS_SEED} & given.keys() else found.replicates
    try:
        return replace(found, vary={**found.vary, **given}, replicates=replicates, only=tuple(only or found.only))
    except ValidationError as error:
        raise WorldwidthError(describe(error, "", Sweep)) from None


def chosen_variants(
    settings: Settings,
    names: Sequence[str],
    vary: Sequence[tuple[str, Sequence[str]]],
    replicates: int | None = None,
    only: Sequence[str] | None = None,
    suffix: str = "",
) -> list[Variant]:
    """The variants of some sweeps of params.yaml, or of none, with what a command line adds to each; seed by seed.

    Raises:
        WorldwidthError: as :func:`chosen_sweep` and :func:`variants_of`, or two sweeps call other runs by one name.
    """
    found: dict[str, Variant] = {}
    for name in names or (None,):
        for variant in variants_of(settings, chosen_sweep(settings, name, vary, replicates, only), suffix):
            if found.setdefault(variant.name, variant) != variant:
                raise WorldwidthError(f"{', '.join(names)}: {variant.name} is another run in one than in another")
    by_seed = sorted(found.values(), key=lambda variant: dict(variant.values)["seed"])
    return by_seed if len(names) > 1 else list(found.values())


def variants_of(settings: Settings, sweep: Sweep, suffix: str = "") -> list[Variant]:
    """The variants, replicate by replicate, so that a sweep cut short leaves whole comparisons.

    Raises:
        WorldwidthError: an axis is none, a variant's settings cannot be, or two variants have one name.
    """
    if problem := next(sweep_problems(settings, "sweep", sweep), None):
        raise WorldwidthError(problem)
    if not re.fullmatch(r"([a-z][a-z0-9_]{0,31})?", suffix):
        raise WorldwidthError(f"suffix '{suffix}': it must be a small letter, then small letters, digits and _")
    found: dict[str, Variant] = {}
    settings = replace(settings, scale=sweep.scale or settings.scale)
    for values in _products(settings, sweep):
        variant = Variant(name_of(settings, values, suffix, sweep.scale), values, sweep.only, sweep.scale)
        twin = found.setdefault(variant.name, variant)
        if twin != variant:
            raise WorldwidthError(f"{_told(twin.values)} and {_told(values)}: both would be called {variant.name}")
        if problem := broken_rule(variant.of(settings)):
            raise WorldwidthError(f"{variant.name}: {problem}")
    return list(found.values())


def _products(settings: Settings, sweep: Sweep) -> list[Values]:
    """Values of every run; a replicate raises both seeds."""
    vary = {axis: (value_of(settings, axis),) for axis in (*_HEAD, ATLANTIS_SEED)} | sweep.vary
    nested = sorted(sorted(vary, key=all_axes().index), key=lambda axis: _ORDER.get(axis, 2))
    found: list[Values] = []
    for replicate in range(sweep.replicates):
        for values in product(*(vary[axis] for axis in nested)):
            given = dict(zip(nested, values, strict=True))
            for axis in ("seed", ATLANTIS_SEED):
                given[axis] += replicate
            found.append(tuple((axis, given[axis]) for axis in all_axes() if axis in given))
    return found


def _told(values: Values) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in values)
