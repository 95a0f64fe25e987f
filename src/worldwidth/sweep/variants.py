"""Variants: the runs of a sweep, each an arch, a budget and a seed."""

from dataclasses import dataclass, replace
from itertools import product
from typing import get_args

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.settings.rules import broken_rule
from worldwidth.settings.schema import Budget, Settings


@dataclass(frozen=True)
class Variant:
    """One run of the sweep."""

    arch: str
    budget: Budget
    seed: int

    @property
    def name(self) -> str:
        """The experiment's name."""
        return f"{self.arch}-{self.budget}-s{self.seed}"

    def of(self, settings: Settings) -> Settings:
        """``settings`` with this variant's arch, budget and seed."""
        return replace(settings, arch=self.arch, budget=self.budget, seed=self.seed)


def sweep(
    settings: Settings, archs: list[str] | None, seeds: list[int] | None, budgets: list[Budget] | None
) -> list[Variant]:
    """The variants, seed by seed, so that a sweep cut short leaves whole comparisons.

    Args:
        archs, seeds, budgets: the variants are their product; None for the one of params.yaml.

    Raises:
        WorldwidthError: an arch or a budget is unknown, or the settings of a variant cannot be.
    """
    archs, seeds, budgets = archs or [settings.arch], seeds or [settings.seed], budgets or [settings.budget]
    kinds = (("arch", archs, list(settings.selected.archs)), ("budget", budgets, list(get_args(Budget))))
    for kind, chosen, allowed in kinds:
        for name in chosen:
            if name not in allowed:
                raise WorldwidthError(f"{kind} '{name}': allowed: {', '.join(allowed)}{nearest(name, allowed)}")
    variants = list(dict.fromkeys(Variant(arch, budget, seed) for seed, budget, arch in product(seeds, budgets, archs)))
    for variant in variants:
        problem = broken_rule(variant.of(settings))
        if problem:
            raise WorldwidthError(f"{variant.name}: {problem}")
    return variants
