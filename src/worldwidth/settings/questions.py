"""The part of params.yaml that asks for runs beside one study, and says what is to be learned from them.

None of it is tracked by DVC, for it changes no result.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from worldwidth.settings.values import Count, CountOrZero, Name, Positive, Scalar

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Frontier:
    """Of what `worldwidth frontier` chooses ``finetuning.body_ratio``."""

    archs: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
    body_ratios: Annotated[tuple[Annotated[float, Field(ge=0, le=1000)], ...], Field(min_length=1, max_length=32)]
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=32)]
    """The grid of each ratio, rising; a best rate at its edge extends it."""
    replicates: Annotated[int, Field(ge=1, le=100)]
    """Pairs of a seed and an Atlantis draw."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Tuning:
    """How `worldwidth tune` chooses each arch's fine-tuning rate: not tracked, for its runs are others."""

    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=32)]
    """The grid, rising; a best rate at its edge extends it."""
    seed: CountOrZero
    """Of the draw that is tuned on: ``world.seed`` and ``world.atlantis.seed`` there."""
    lines: Count
    """Validation lines a task and population there."""
    frontier: Frontier | None = None
    only: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """Fine-tunes that are trained, by name or by the start of it; empty for all."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Sweep:
    """Runs to compare: the product of some settings' values, times replicates."""

    vary: Annotated[dict[str, Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=64)]], Field(max_length=8)]
    """Setting -> its values. A setting is a key of the top level (``arch``), or one of the scale with dots
    (``finetuning.learning_rate``)."""
    replicates: Annotated[int, Field(ge=1, le=1000)] = 1
    """Pairs of a seed and an Atlantis draw: both are raised by one from each to the next."""
    only: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """Fine-tunes that are trained, by name or by the start of it; empty for all."""
    scale: Name | None = None
    """The scale of these runs; None for that of params.yaml."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Analysis:
    """What decides, said before the runs: `worldwidth compare` asks git. Not tracked, for it changes no result."""

    primary: Annotated[str, Field(min_length=1)]
    """The metric that decides, one of those that `worldwidth compare` prints."""
    by: str
    """The axis that it is compared by."""
    contrast: Literal["linear", "ends"] = "linear"
    """``linear``: the rise of a line over log2 of the axis's sizes. ``ends``: the last level minus the first."""
    equivalence: Positive
    """The largest difference that counts as none."""
    sd: Positive
    """Of one run, for `worldwidth plan --sweep` where no comparison has measured it."""
