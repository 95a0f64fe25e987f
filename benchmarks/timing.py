"""Measuring variants side by side: they take turns, so that what else the machine does falls on all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Options:
    """What the command line asks of every section."""

    quick: bool
    rounds: int | None
    """Turns of every variant; None leaves it to the section."""
    threads: int
    """CPU threads of the second half of the training section; all else runs with one."""

    def turns(self, default: int, quick: int) -> int:
        """Number of rounds of a section with these two defaults."""
        return self.rounds or (quick if self.quick else default)


@dataclass(frozen=True)
class Comparison:
    """Variants measured in the same rounds."""

    values: dict[str, list[float]]
    """variant -> one value a round."""
    reference: str
    """The variant that the others are compared with."""
    less_is_better: bool = False
    """Seconds rather than a rate."""

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Per variant: min, median, max, and how many times better than the reference it is.

        ``ratio`` is that of the medians; ``ratio_of_rounds`` the median over rounds of the ratio within a round.
        """
        reference = self.values[self.reference]
        return {
            name: {
                "min": min(values),
                "median": median(values),
                "max": max(values),
                "ratio": self._times(median(values), median(reference)),
                "ratio_of_rounds": median(map(self._times, values, reference)),
                "values": values,
            }
            for name, values in self.values.items()
        }

    def rows(self) -> list[list[str]]:
        """One table row a variant, below :data:`HEADINGS`."""
        return [
            [
                name,
                *(number(entry[key]) for key in ("min", "median", "max")),
                *(f"{number(entry[key])}x" for key in ("ratio", "ratio_of_rounds")),
            ]
            for name, entry in self.statistics().items()
        ]

    def _times(self, value: float, reference: float) -> float:
        return reference / value if self.less_is_better else value / reference


HEADINGS = ["min", "median", "max", "ratio", "by round"]


def take_turns(
    variants: Mapping[str, Callable[[], float]], rounds: int, warm_up: bool = False
) -> dict[str, list[float]]:
    """Call the variants A B C A B C ...: variant -> the value of every round. A warm-up round counts for nothing."""
    values: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(-1 if warm_up else 0, rounds):
        for name, measure in variants.items():
            value = measure()
            if turn >= 0:
                values[name].append(value)
    return values


def number(value: float) -> str:
    """A number for people: whole from 100 on, three digits below."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column is text and whose others are numbers."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    print(f"\n{title}")
    for row in (headings, ["-" * width for width in widths], *rows):
        first, *others = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip(), flush=True)
