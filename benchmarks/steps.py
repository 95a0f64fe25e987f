"""What a training variant hands back: when its steps ended and what their losses were."""

from dataclasses import dataclass

import numpy as np

from worldwidth.data.corpus import Lines
from worldwidth.model.packing import Tree
from worldwidth.settings.schema import Sizes


@dataclass(frozen=True)
class Steps:
    """n optimiser steps."""

    times: list[float]
    """(n + 1,) seconds on one clock: the start of the first step, then the end of every step."""
    losses: list[float]
    """(n,) loss of every step, in nats a token."""

    def seconds(self, dropped: int) -> float:
        """Seconds of all steps but the first ``dropped``, in which caches and workers warm up."""
        assert len(self.times) == len(self.losses) + 1
        return self.times[-1] - self.times[dropped]


def part(lines: Lines, start: int, end: int) -> Lines:
    """The lines from ``start`` up to ``end``."""
    return Lines(lines.tokens[start:end], lines.lengths[start:end])


def real_tokens(lines: Lines) -> int:
    """Tokens that are not padding."""
    return int(lines.lengths.sum(dtype=np.int64))


def model_flops(sizes: Sizes, vocabulary: int, lines: Lines) -> int:
    """FLOPs of training on ``lines`` once where lines share nothing; padding does not count.

    6 x (weights of the layers' matrices) x tokens + 6 x (weights of the output head) x predictions
    + 12 x layers x hidden_size x sum of squared line lengths. The last is attention's own: queries times keys and
    weights times values, 2 FLOPs each a pair of tokens and channel, twice that backward; the masked half is
    included, as in PaLM (arXiv 2204.02311). The embedding is a look-up: none.
    """
    d, layers = sizes.hidden_size, sizes.num_hidden_layers
    lengths = lines.lengths.astype(np.int64)
    tokens, predictions = int(lengths.sum()), int((lengths - 1).sum())
    matrices = layers * (4 * d * d + 3 * d * sizes.intermediate_size)
    return 6 * matrices * tokens + 6 * d * vocabulary * predictions + 12 * layers * d * int((lengths**2).sum())


def tree_flops(sizes: Sizes, vocabulary: int, trees: list[Tree]) -> int:
    """FLOPs of training on trees: the same sum as :func:`model_flops` over what is computed at all.

    Every layer but the last works on all nodes; the last works out keys and values for all, and the rest, as the output
    head does, for the nodes that something is predicted from. Attention counts each node's own pairs.
    """
    d, inner, layers = sizes.hidden_size, sizes.intermediate_size, sizes.num_hidden_layers
    total = 0
    for tree in trees:
        nodes, queries = len(tree.ids), len(tree.queries)
        inner_layers = (layers - 1) * (4 * d * d + 3 * d * inner) * nodes
        last_layer = 2 * d * d * nodes + (2 * d * d + 3 * d * inner) * queries
        pairs = tree.positions.astype(np.int64) + 1
        attended = (layers - 1) * int(pairs.sum()) + int(pairs[tree.queries].sum())
        total += 6 * (inner_layers + last_layer + d * vocabulary * queries) + 12 * d * attended
    return total
