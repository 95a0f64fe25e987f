"""Axes of a comparison: the value that a run has on each, their order, and the arm, which is all else that differs.

A value is read from a run's resolved settings, with what its arch overrides: ``finetuning.learning_rate`` is the rate
that the run was fine-tuned with, wherever params.yaml says it.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.settings import axes
from worldwidth.settings.axes import ATLANTIS_SEED, check_axis, shortest
from worldwidth.settings.schema import Settings
from worldwidth.settings.values import Scalar

ARCH, BUDGET = "arch", "budget"
REPLICATE = ("seed", ATLANTIS_SEED)
"""What tells replicates apart: it is averaged over, and so no axis."""
_SHORT = {
    "finetuning.learning_rate": "lr",
    "finetuning.body_ratio": "body ratio",
    "pretraining.learning_rate": "plr",
    "finetuning_budget": "fine-tuning",
}
_PLAIN = {"recipe": "default", "finetuning_budget": "epochs", "parametrization": "standard"}
"""Values that an arm's name leaves out: those that hold where nothing is said."""
BUDGETS = {
    "epochs": "each arch's own epochs",
    "tokens": "equal pre-training tokens",
    "flops": "equal pre-training FLOPs",
}


@dataclass(frozen=True)
class Axis:
    """One axis, with the values that some runs have on it."""

    key: str
    values: dict[str, Scalar]
    """Level -> value, in the order in which they are shown; a level is a value as text."""
    sizes: dict[str, float]
    """Level -> what is doubled in a trend, of the levels that one is fitted over: an arch's hidden size, or the value
    itself. Empty where there is no such thing."""
    noun: str
    """What a level is called in sentences: ``width``, ``architecture``, or the key."""

    @property
    def levels(self) -> tuple[str, ...]:
        """In the order in which they are shown."""
        return tuple(self.values)

    @property
    def is_quantitative(self) -> bool:
        """Whether the values are numbers."""
        return all(isinstance(value, int | float) for value in self.values.values())

    @property
    def is_log(self) -> bool:
        """Whether the values belong on a log axis: positive numbers that span a decade."""
        numbers = [value for value in self.values.values() if isinstance(value, int | float)]
        return self.is_quantitative and min(numbers) > 0 and max(numbers) >= 10 * min(numbers)

    @property
    def larger(self) -> str:
        """What a trend's upper end is called."""
        return "wider" if self.key == ARCH else "larger values"

    @classmethod
    def of(cls, key: str, runs: Sequence[Settings]) -> "Axis":
        """The axis ``key`` of these runs.

        Raises:
            WorldwidthError: there is no such axis.
        """
        found = {shortest(value): value for value in (value_of(settings, key) for settings in runs)}
        if key == ARCH:
            return _of_archs(runs)
        numbers = all(isinstance(value, int | float) for value in found.values())
        order = {name: i for i, name in enumerate(BUDGETS)} if key in (BUDGET, "finetuning_budget") else {}
        values = dict(
            sorted(found.items(), key=lambda pair: (order.get(pair[0], 0), pair[1] if numbers else 0, pair[0]))
        )
        sizes = {level: float(value) for level, value in values.items() if isinstance(value, int | float) and value > 0}
        return cls(key, values, sizes if numbers and len(sizes) == len(values) else {}, key)


def _of_archs(runs: Sequence[Settings]) -> Axis:
    """Archs by width, then by depth. A trend is over those of one depth: what most of them have, or the model's."""
    sizes = {settings.arch: settings.sizes for settings in runs}
    names = sorted(sizes, key=lambda name: (sizes[name].hidden_size, sizes[name].num_hidden_layers, name))
    depths = [sizes[name].num_hidden_layers for name in names]
    own = runs[0].selected.model.num_hidden_layers
    usual = max(depths, key=lambda depth: (depths.count(depth), depth == own, depth))
    widths = {name: float(sizes[name].hidden_size) for name in names if sizes[name].num_hidden_layers == usual}
    return Axis(ARCH, {name: name for name in names}, widths, "width" if len(set(depths)) == 1 else "architecture")


def value_of(settings: Settings, key: str) -> Scalar:
    """The value that a run of ``settings`` has on the axis ``key``.

    Raises:
        WorldwidthError: there is no such axis.
    """
    if key in REPLICATE:
        raise WorldwidthError(f"axis '{key}': it tells replicates apart, which are averaged over; name another")
    check_axis(key)
    value = axes.value_of(settings, key)
    assert isinstance(value, Scalar)
    return shortest(value) if isinstance(value, bool) else value


@dataclass(frozen=True)
class Design:
    """What is compared, and within what."""

    by: tuple[Axis, ...]
    """The compared axis, whose values are the levels; and perhaps a second, which gives curves."""
    within: tuple[Axis, ...]
    """The axes whose values make the arms."""
    names: Mapping[str, str]
    """Arm, as its values say it -> what it is called."""

    @classmethod
    def of(
        cls,
        runs: Sequence[Settings],
        by: Sequence[str],
        others: Sequence[str] = (),
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> "Design":
        """That of these runs.

        Args:
            by: the compared axis, and perhaps a second.
            others: further axes on which the runs may differ.
            names: of arms that have one.
        """
        always = tuple(key for key in (BUDGET, ARCH) if key != by[0])
        keys = dict.fromkeys([*always, *by[1:], *others])
        within = [Axis.of(key, runs) for key in keys if key != by[0] and key not in REPLICATE]
        chosen = [axis for axis in within if axis.key in always or len(axis.values) > 1]
        return cls(tuple(Axis.of(key, runs) for key in by), tuple(chosen), names)

    @property
    def axis(self) -> Axis:
        """The compared one."""
        return self.by[0]

    @property
    def drawn_over(self) -> Axis | None:
        """The axis that scores are drawn over: the numbers among the compared ones, or else what is compared; None for
        archs, whose scores are drawn over their parameters and FLOPs."""
        if [axis.key for axis in self.by] == [ARCH]:
            return None
        numbers = [axis for axis in self.by if axis.is_quantitative]
        return (numbers or [axis for axis in self.by if axis.key != ARCH])[0]

    def level_of(self, settings: Settings) -> str:
        """The value on the compared axis, as text."""
        return shortest(value_of(settings, self.axis.key))

    def arm_of(self, settings: Settings) -> str:
        """All else that tells runs apart, as text: ``epochs, lr 4e-3``; or its name."""
        values = _joined((axis.key, shortest(value_of(settings, axis.key))) for axis in self.within)
        return self.names.get(values, values)

    def rest_of(self, row: Mapping[str, Any], without: Collection[str]) -> str:
        """The values of a row of the table of runs on those axes on which runs differ, as text, ``without`` some."""
        by_key = {axis.key: axis for axis in (*self.by, *self.within)}
        differing = [key for key, axis in by_key.items() if len(axis.values) > 1 and key not in without]
        return _joined((key, shortest(row[key])) for key in differing)

    def words_of(self, row: Mapping[str, Any]) -> str:
        """The arm of a row of the table of runs, in words: ``each arch's own epochs, arch wide``."""
        return ", ".join(
            BUDGETS[row[BUDGET]] if axis.key == BUDGET else f"{axis.key} {shortest(row[axis.key])}"
            for axis in self.within
            if shortest(row[axis.key]) != _PLAIN.get(axis.key)
        )

    def arms_of(self, runs: Sequence[Settings]) -> tuple[str, ...]:
        """All arms: those with names in the order of these, then the others in that of their axes' values."""
        named = list(self.names.values())

        def place(settings: Settings) -> list[int]:
            return [axis.levels.index(shortest(value_of(settings, axis.key))) for axis in self.within]

        arms = dict.fromkeys(self.arm_of(settings) for settings in sorted(runs, key=place))
        return tuple(sorted(arms, key=lambda arm: named.index(arm) if arm in named else len(named)))


def _joined(values: Iterable[tuple[str, str]]) -> str:
    """Values of axes in an arm's name, without those that need not be said."""
    return ", ".join(_said(key, value) for key, value in values if value != _PLAIN.get(key))


def _said(key: str, value: str) -> str:
    """A value in an arm's name: some say themselves what they are."""
    return value if key in (ARCH, BUDGET, "recipe", "parametrization") else f"{_SHORT.get(key, key)} {value}"


def in_file_name(text: str) -> str:
    """An arm or a level in the name of a file: ``epochs-lr4e-3``."""
    return re.sub(r"[^\w.+-]+", "", text.replace(", ", "-"))
