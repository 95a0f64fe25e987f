"""Lines as a prefix tree: what several lines begin with is computed once.

Attention is causal: what a model makes of a token depends on the tokens before it and on nothing else. So tokens of
different lines whose whole prefixes are equal have equal activations. Of the lines of a batch, in lexicographic
order, each shares its first tokens with the line above and adds nodes for the rest.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.data.tokenizer import EQUALS

LINES_A_PART = 64
"""A batch is computed in parts of about so many lines: always the same, so that no bit depends on the threads."""

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Tree:
    """Some lines as N nodes, one for every distinct prefix, and the predictions that are counted."""

    ids: Ints
    """(N,) the token of each node; a node comes after its parent."""
    positions: Ints
    """(N,) its position in its lines, from 0."""
    nodes: Ints
    """(lines, longest) the node of every token; -1 behind the end of a line."""
    lengths: Ints
    """(lines,) tokens of each line that are read: what would follow the last of a line to train on is not counted."""
    shared: Ints
    """(lines,) how many of a line's first tokens are nodes of the line above."""
    queries: Ints
    """(M,) the nodes from which something counted is predicted, ascending: the last layer needs no others."""
    sources: Ints
    """(P,) for every counted prediction, line by line, its place in ``queries``."""
    targets: Ints
    """(P,) and the token that it should predict."""


def in_order(tokens: NDArray[Any]) -> NDArray[np.int64]:
    """The rows of ``tokens`` (n, longest) in lexicographic order, (n,)."""
    big_endian = np.ascontiguousarray(tokens.astype(tokens.dtype.newbyteorder(">")))  # bytes compare as numbers do
    return np.argsort(big_endian.view(f"S{big_endian.shape[1] * big_endian.itemsize}")[:, 0], kind="stable")


def split(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The parts in which a batch of lines is computed; neighbours stay together."""
    return np.array_split(rows, max(1, round(len(rows) / LINES_A_PART)))


def pack(tokens: NDArray[Any], lengths: NDArray[Any], loss: str) -> Tree:
    """The tree of lines in lexicographic order: ``tokens`` (lines, longest or more), ``lengths`` (lines,).

    Args:
        loss: what is counted: ``all`` tokens but the first, the ``answer`` after '=', or the ``next`` token after
            each line, which has no target.
    """
    lengths = lengths.astype(np.int32) - (loss != "next")
    longest = int(lengths.max())
    following = tokens[:, 1 : longest + 1].astype(np.int32)
    tokens = tokens[:, :longest].astype(np.int32)
    columns = np.arange(longest, dtype=np.int32)
    real = columns < lengths[:, None]
    same = np.zeros_like(real)
    same[1:] = np.logical_and.accumulate(tokens[1:] == tokens[:-1], axis=1) & real[1:] & real[:-1]
    new = real & ~same
    numbers = np.where(new, np.cumsum(new.ravel(), dtype=np.int32).reshape(new.shape) - 1, -1)
    nodes = np.where(real, np.maximum.accumulate(numbers, axis=0), -1)  # a shared token has the node above
    if loss == "next":
        counted = columns == lengths[:, None] - 1
        targets = np.empty(0, np.int32)
    else:
        counted = real.copy()
        if loss == "answer":
            counted &= columns >= (tokens == EQUALS).argmax(axis=1)[:, None]
        targets = following[counted]
    predicting = nodes[counted]
    is_query = np.zeros(int(new.sum()), bool)
    is_query[predicting] = True
    return Tree(
        ids=tokens[new],
        positions=np.broadcast_to(columns, new.shape)[new],
        nodes=nodes,
        lengths=lengths,
        shared=same.sum(axis=1, dtype=np.int32),
        queries=np.flatnonzero(is_query).astype(np.int32),
        sources=(np.cumsum(is_query, dtype=np.int32) - 1)[predicting],
        targets=targets,
    )
