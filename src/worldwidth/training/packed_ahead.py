"""The batches of several runs packed ahead of their steps, in a thread, in one shape that fits all of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod

import numpy as np
from numpy.typing import NDArray

from worldwidth.model.packing import Ints, pack
from worldwidth.model.tree_tensors import Sizes, padded
from worldwidth.training.mixture import Rows
from worldwidth.training.run import Run, Training
from worldwidth.training.torch_update import step_factors

STEPS_AT_ONCE = 16
"""Steps that are packed, and copied to a device, together."""
_ROUND = 64  # sizes are rounded up to whole tiles of a matrix product
_LINES_AT_ONCE = 65_536  # looked at in one go, to find the sizes


@dataclass(frozen=True)
class Chunk:
    """What some steps of all runs read."""

    trees: Ints
    """(steps, runs, all arrays of a padded tree behind each other)"""
    factors: NDArray[np.float32]
    """(steps, runs, 4): those of an optimiser step, and one over the number of predictions"""
    tokens: list[list[int]]
    """Real tokens, step by step and run by run."""


def width_of(sizes: Sizes) -> int:
    """Numbers in a padded tree."""
    return sum(map(prod, sizes.fields().values()))


def chunks(trainings: list[Training], sizes: Sizes) -> Iterator[Chunk]:
    """The steps from here on, as long as every run has some; the next chunk is packed while one is used."""
    batches = [training.rows() for training in trainings]
    first = [training.step for training in trainings]
    counts = [training.run.mixture.prediction_counts(training.run.optimization.loss) for training in trainings]

    def next_chunk() -> Chunk | None:
        steps = list(islice(zip(*batches, strict=False), STEPS_AT_ONCE))
        if not steps:
            return None
        trees = np.empty((len(steps), len(trainings), width_of(sizes)), np.int32)
        factors = np.empty((len(steps), len(trainings), 4), np.float32)
        tokens = [[0] * len(trainings) for _ in steps]
        for at, of_runs in enumerate(steps):
            for number, (training, rows) in enumerate(zip(trainings, of_runs, strict=True)):
                mixture, optimization, step = training.run.mixture, training.run.optimization, first[number]
                tree = pack(mixture.tokens[rows], mixture.lengths[rows], optimization.loss)
                np.concatenate([array.ravel() for array in padded(tree, sizes).values()], out=trees[at, number])
                scale = 1.0 / float(counts[number][rows].sum())
                factors[at, number] = *step_factors(step, training.rate(step), optimization), scale
                tokens[at][number] = int(mixture.lengths[rows].sum(dtype=np.int64))
                first[number] += 1
        return Chunk(trees, factors, tokens)

    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next_chunk)
        while chunk := waiting.result():
            waiting = thread.submit(next_chunk)
            yield chunk


def common_sizes(runs: list[Run]) -> Sizes:
    """The smallest sizes, those that count rounded up, that fit every batch of every run."""
    each = [_sizes_of(run) for run in runs]
    longest, nodes, queries, predictions, width = np.max(each, axis=0).tolist()
    up = partial(_rounded_up, step=_ROUND)
    lines = max(run.optimization.batch_size for run in runs)
    return Sizes(lines, longest, up(nodes), up(queries), up(predictions), width)


def _rounded_up(size: int, step: int) -> int:
    return -(-size // step) * step


def _sizes_of(run: Run) -> tuple[int, ...]:
    """The most read tokens of a line; nodes, queries and predictions of a batch; and predictions of a line."""
    mixture, size = run.mixture, run.optimization.batch_size
    counts = mixture.prediction_counts(run.optimization.loss)
    lengths = mixture.lengths.astype(np.int64)
    most = np.zeros(3, np.int64)
    batches = run.rows()
    while some := list(islice(batches, max(1, _LINES_AT_ONCE // size))):
        starts = np.cumsum([0, *(len(rows) for rows in some)])
        shared = _shared(mixture.tokens, np.concatenate(some))
        shared[starts[:-1]] = 0
        rows = np.concatenate(some)
        nodes = np.maximum(lengths[rows] - 1 - shared, 0)  # nothing is predicted from the last token of a line
        queries = np.minimum(counts[rows], nodes)
        found = [np.add.reduceat(values, starts[:-1]).max() for values in (nodes, queries, counts[rows])]
        most = np.maximum(most, found)
    return (int(lengths.max()) - 1, *map(int, most), int(counts.max()))


def _shared(tokens: NDArray[np.generic], rows: Rows) -> NDArray[np.int64]:
    """How many first tokens each of the lines ``rows`` shares with the one before it, (n,)."""
    lines = tokens[rows]
    found = np.zeros(len(rows), np.int64)
    equal = (lines[1:] == lines[:-1]) & (lines[1:] != 0)
    found[1:] = np.logical_and.accumulate(equal, axis=1).sum(axis=1)
    return found
