"""Drawing the queries of one task: balanced, without repeats, no query shared between splits.

A query's *class* is what is left when the task's symmetries are taken out: dist(A,B) and dist(B,A)
are one class. No class is in two splits, nor twice in one; only a training split larger than its
space repeats queries, and only once every class it may use has been used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from worldwidth.errors import WorldwidthError
from worldwidth.layout import SPLITS
from worldwidth.matrix import Corpus, Lines
from worldwidth.streams import stream
from worldwidth.tasks import Integers, Task

_DRAW_ORDER = ("test", "validation", "train")  # the small splits choose first, the large one takes the rest
_BATCH = 200_000
_EXHAUSTED = 20  # so many known queries in a row, for every one found, mean that no new one is left (e^-20)
_Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Queries:
    """n queries: ``cities`` (n, k) rows of the cities table, -1 past the end; ``answers`` (n,)."""

    cities: Integers
    answers: Integers


def query_sizes(task: Task, corpus: Corpus) -> list[int]:
    """The numbers of cities a query of ``task`` may have, smallest first."""
    low, high = getattr(corpus, task.sizes) if isinstance(task.sizes, str) else task.sizes
    return [task.fixed_cities + k for k in range(low, high + 1)]


def query_keys(task: Task, cities: Integers) -> _Keys:
    """A 64-bit key for the class of each query (n, k) -> (n,).

    Equal classes have equal keys. Two classes share a key with a chance of 2^-64 a pair; then one of
    them is passed over, so that disjointness never depends on luck.
    """
    canonical = task.canonical(cities).astype(np.uint64)
    keys = np.full(len(cities), cities.shape[1], dtype=np.uint64)
    for column in canonical.T:  # splitmix64, one round a city
        keys = (keys ^ column) + np.uint64(0x9E3779B97F4A7C15)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        keys ^= keys >> np.uint64(31)
    return keys


def draw_splits(
    name: str, task: Task, corpus: Corpus, population: str, points: Integers, atlantis: int, seed: int
) -> dict[str, Queries]:
    """Draw the three splits of one task and population.

    Args:
        points: (cities, 2) coordinates of the whole table.
        atlantis: row of the first Atlantis city.
        seed: the world's seed; every split draws from a stream of its own.

    Raises:
        WorldwidthError: there are too few different queries for the validation or test split.
    """
    lines: Lines = getattr(corpus, population)
    sizes = query_sizes(task, corpus)
    excluded = np.empty(0, dtype=np.uint64)
    splits: dict[str, Queries] = {}
    for split in _DRAW_ORDER:
        rng = stream(seed, "corpus", name, population, split)
        wanted = _shares(getattr(lines, split), sizes, len(task.labels) if task.balanced else 0)
        parts, keys = [], [excluded]
        for size in sizes:
            draw = partial(_draw_cities, rng, population, size, atlantis, len(points))
            stratum = _Stratum(task, points, draw, excluded, wanted[size])
            parts.append(stratum.fill(f"{name}, {population}, {split}", may_repeat=split == "train"))
            keys.append(query_keys(task, parts[-1].cities))
        excluded = np.unique(np.concatenate(keys))
        splits[split] = _shuffled(parts, rng)
    return {split: splits[split] for split in SPLITS}


def _shares(total: int, sizes: list[int], labels: int) -> dict[int, dict[int, int]]:
    """Lines per size and label: as even as whole numbers allow, equal over labels within each size.

    Without labels to balance, the one label -1 stands for all.
    """

    def even(amount: int, parts: int) -> list[int]:
        return [amount // parts + (i < amount % parts) for i in range(parts)]

    by_label = [even(amount, len(sizes)) for amount in even(total, labels or 1)]
    keys = range(labels) if labels else [-1]
    return {size: {key: by_label[i][s] for i, key in enumerate(keys)} for s, size in enumerate(sizes)}


def _draw_cities(
    rng: np.random.Generator, population: str, size: int, atlantis: int, total: int, count: int
) -> Integers:
    """About ``count`` rows of ``size`` distinct cities; rows that repeat a city are dropped."""
    if population == "world":
        cities = rng.integers(atlantis, size=(count, size))
    else:  # one slot, chosen uniformly, is Atlantis; the others are anything
        cities = rng.integers(total, size=(count, size))
        cities[np.arange(count), rng.integers(size, size=count)] = rng.integers(atlantis, total, size=count)
    distinct = (np.diff(np.sort(cities, axis=1), axis=1) > 0).all(axis=1)
    return cities[distinct]


@dataclass
class _Stratum:
    """The queries of one size being collected, label by label."""

    task: Task
    points: Integers
    draw: Callable[[int], Integers]
    excluded: _Keys
    wanted: dict[int, int]

    def fill(self, where: str, may_repeat: bool) -> Queries:
        """Draw until every label has its share. ``where`` names the split in errors."""
        taken = self.excluded
        left = dict(self.wanted)
        known_in_a_row = dict.fromkeys(left, 0)
        rows = [self.draw(0)]
        answers: list[Integers] = [np.empty(0, dtype=np.int64)]
        while any(left.values()):
            cities = self.draw(min(_BATCH, max(4096, 4 * sum(left.values()))))
            answer = self.task.answer(self.points[cities])
            label = answer if -1 not in left else np.full(len(cities), -1)
            keys = query_keys(self.task, cities)
            allowed = ~_contains(self.excluded, keys)
            new = ~_contains(taken, keys) & _first_of_equal(keys)
            for value, need in left.items():
                found, usable = self.wanted[value] - need, allowed & (label == value)
                exhausted = known_in_a_row[value] >= _EXHAUSTED * max(found, 1000)
                fresh = np.flatnonzero(usable if exhausted else usable & new)[:need]
                # Draws without the label count a little, or a label that never occurs would be awaited for ever.
                known = max(int(usable.sum()), len(cities) // 100)
                known_in_a_row[value] = 0 if (usable & new).any() else known_in_a_row[value] + known
                if exhausted and need and (not may_repeat or found == 0):
                    raise WorldwidthError(
                        f"{where}: {self.wanted[value]} different queries wanted, {found} left in this world "
                        f"({cities.shape[1]} cities a query); ask for fewer test and validation lines, or more cities"
                    )
                left[value] -= len(fresh)
                rows.append(cities[fresh])
                answers.append(answer[fresh])
                taken = np.union1d(taken, keys[fresh])
        return Queries(np.concatenate(rows), np.concatenate(answers))


def _contains(keys_sorted: _Keys, keys: _Keys) -> NDArray[np.bool_]:
    """Which of ``keys`` are in the sorted ``keys_sorted``."""
    if not len(keys_sorted):
        return np.zeros(len(keys), dtype=bool)
    at = np.searchsorted(keys_sorted, keys).clip(max=len(keys_sorted) - 1)
    return np.asarray(keys_sorted[at] == keys)


def _first_of_equal(keys: _Keys) -> NDArray[np.bool_]:
    """Which entries are the first of their value."""
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


def _shuffled(parts: list[Queries], rng: np.random.Generator) -> Queries:
    """All strata in one table, in random order, short queries padded with -1."""
    widest = max(part.cities.shape[1] for part in parts)
    cities = np.concatenate(
        [np.pad(part.cities, ((0, 0), (0, widest - part.cities.shape[1])), constant_values=-1) for part in parts]
    )
    order = rng.permutation(len(cities))
    return Queries(cities[order], np.concatenate([part.answers for part in parts])[order])
