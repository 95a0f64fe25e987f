"""Drawing the queries of one task: balanced, without repeats, no query shared between splits.

A query's *class* is what is left when the task's symmetries are taken out: dist(A,B) and dist(B,A)
are one class. No class is in two splits, nor twice in one; only a training split larger than its
space repeats queries, and only once every class it may use has been used.

Within this module queries lie in columns, (k, n): one contiguous array a slot. Tasks are given (n, k) views.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from worldwidth.core.errors import WorldwidthError
from worldwidth.data.corpus import SPLITS
from worldwidth.data.hash_set import Keys, KeySet, first_of_equal
from worldwidth.data.random_streams import stream
from worldwidth.settings.schema import Corpus, Lines
from worldwidth.tasks import Integers, Task

_DRAW_ORDER = ("test", "validation", "train")  # the small splits choose first, the large one takes the rest
_BATCH = 200_000
PIECE = 1 << 14  # queries worked on at once: what is made from them stays in the processor's cache
_EXHAUSTED = 20  # so many known queries in a row, for every one found, mean that no new one is left (e^-20)
_Number = TypeVar("_Number", bound=np.generic)
_Rows = NDArray[np.signedinteger[Any]]  # of the cities table, in the few bytes they need


@dataclass(frozen=True)
class Queries:
    """n queries: ``cities`` (n, k) rows of the cities table, -1 past the end; ``answers`` (n,)."""

    cities: _Rows
    answers: Integers


def query_sizes(task: Task, corpus: Corpus) -> list[int]:
    """The numbers of cities a query of ``task`` may have, smallest first."""
    low, high = getattr(corpus, task.sizes) if isinstance(task.sizes, str) else task.sizes
    return [task.fixed_cities + k for k in range(low, high + 1)]


def query_keys(task: Task, cities: Integers) -> Keys:
    """A 64-bit key for the class of each query (n, k) -> (n,), never 0.

    Equal classes have equal keys. Two classes share a key with a chance of 2^-63 a pair; then one of
    them is passed over, so that disjointness never depends on luck.
    """
    keys = np.full(len(cities), cities.shape[1], dtype=np.uint64)
    for column in task.canonical(cities).T:  # a polynomial modulo 2^64, its high bits well mixed
        keys += column.astype(np.uint64)
        keys *= np.uint64(0x9E3779B97F4A7C15)
    return keys | np.uint64(1)


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
    columns = np.ascontiguousarray(points.T)
    used = [np.empty(0, dtype=np.uint64)]
    splits: dict[str, Queries] = {}
    for split in _DRAW_ORDER:
        rng = stream(seed, "corpus", name, population, split)
        wanted = _shares(getattr(lines, split), sizes, len(task.labels) if task.balanced else 0)
        excluded, parts = np.concatenate(used), []
        for size in sizes:
            draw = partial(_draw_cities, rng, population, size, atlantis, len(points))
            stratum = _Stratum(task, columns, draw, excluded, wanted[size])
            part, keys = stratum.fill(f"{name}, {population}, {split}", may_repeat=split == "train")
            parts.append(part)
            used.append(keys)
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


def _draw_cities(rng: np.random.Generator, population: str, size: int, atlantis: int, total: int, count: int) -> _Rows:
    """About ``count`` queries of ``size`` distinct cities, (size, n); those that repeat a city are dropped."""
    if population == "world":
        cities = rng.integers(atlantis, size=(count, size))
    else:  # one slot, chosen uniformly, is Atlantis; the others are anything
        cities = rng.integers(total, size=(count, size))
        cities[np.arange(count), rng.integers(size, size=count)] = rng.integers(atlantis, total, size=count)
    columns = cities.T.astype(np.int16, order="C")  # as on disk
    distinct = np.ones(count, dtype=bool)
    for one, other in itertools.combinations(columns, 2):
        distinct &= one != other
    return columns.compress(distinct, axis=1)


@dataclass
class _Stratum:
    """The queries of one size being collected, label by label."""

    task: Task
    points: Integers
    """(2, cities): x and y of the whole table."""
    draw: Callable[[int], _Rows]
    excluded: Keys
    wanted: dict[int, int]

    def fill(self, where: str, may_repeat: bool) -> tuple[Queries, Keys]:
        """Draw until every label has its share; also return the keys. ``where`` names the split in errors."""
        excluded, taken = KeySet(self.excluded), KeySet(self.excluded, room=sum(self.wanted.values()))
        left = dict(self.wanted)
        known_in_a_row = dict.fromkeys(left, 0)
        chosen = [(self.draw(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64))]
        while any(left.values()):
            drawn = self.draw(min(_BATCH, max(4096, 4 * sum(left.values()))))
            labels = self._answers(drawn) if self.task.balanced else np.full(drawn.shape[1], -1)
            for value in (value for value in left if left[value]):
                found = self.wanted[value] - left[value]
                exhausted = known_in_a_row[value] >= _EXHAUSTED * max(found, 1000)
                if exhausted and (not may_repeat or found == 0):
                    raise WorldwidthError(
                        f"{where}: {self.wanted[value]} different queries wanted, {found} left in this world "
                        f"({len(drawn)} cities a query); ask for fewer test and validation lines, or more cities"
                    )
                known, any_new = 0, False
                for rows in _pieces(np.flatnonzero(labels == value)):
                    cities = drawn.take(rows, axis=1)
                    keys = query_keys(self.task, cities.T.astype(np.int64))
                    new = np.flatnonzero(~taken.contains(keys))
                    usable = np.flatnonzero(~excluded.contains(keys)) if exhausted or not len(new) else new
                    known, any_new = known + len(usable), any_new or len(new) > 0
                    fresh = (usable if exhausted else new[first_of_equal(keys[new])])[: left[value]]
                    taken.add(keys[fresh])
                    chosen.append((cities.take(fresh, axis=1), labels[rows[fresh]], keys[fresh]))
                    left[value] -= len(fresh)
                    if not left[value]:
                        break
                # Draws without the label count a little, or a label that never occurs would be awaited for ever.
                known_in_a_row[value] = 0 if any_new else known_in_a_row[value] + max(known, drawn.shape[1] // 100)
        cities, answers, keys = (np.concatenate(columns, axis=-1) for columns in zip(*chosen, strict=True))
        return Queries(cities.T, answers if self.task.balanced else self._answers(cities)), keys

    def _answers(self, cities: _Rows) -> Integers:
        """Answers of the queries (k, n) -> (n,)."""
        points = (self.points.take(piece, axis=1) for piece in _pieces(cities))
        return np.concatenate([self.task.answer(piece.transpose(2, 1, 0)) for piece in points])


def _pieces(columns: NDArray[_Number]) -> Iterator[NDArray[_Number]]:
    """(..., n) as pieces (..., up to PIECE), at least one."""
    return (columns[..., start : start + PIECE] for start in range(0, max(1, columns.shape[-1]), PIECE))


def _shuffled(parts: list[Queries], rng: np.random.Generator) -> Queries:
    """All strata in one table, in random order, short queries padded with -1."""
    widest = max(part.cities.shape[1] for part in parts)
    cities = np.concatenate(
        [np.pad(part.cities, ((0, 0), (0, widest - part.cities.shape[1])), constant_values=-1) for part in parts]
    )
    order = rng.permutation(len(cities))
    return Queries(cities.take(order, axis=0), np.concatenate([part.answers for part in parts]).take(order))
