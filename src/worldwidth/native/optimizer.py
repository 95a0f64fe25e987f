"""AdamW, Muon and clipping in C++, on the flat arrays of a model.

The weights are cut into pieces, always the same, which threads may share: no bit depends on how many there are.
"""

import ctypes
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from worldwidth.model.layout import Weights
from worldwidth.model.parametrization import Group
from worldwidth.native.library import address, library
from worldwidth.settings.schema import Optimization

Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""``map``, or that of a pool of threads."""

_PIECE, _MUON_PIECE = 1 << 18, 1 << 13
"""Weights of a piece; Muon has more to do for each, and takes whole matrices."""


def update(
    weights: Weights,
    first: Weights,
    second: Weights,
    gradients: list[Weights],
    groups: list[Group],
    optimization: Optimization,
    step: int,
    rate: float,
    spread: Spread = map,
) -> float:
    """Take step ``step`` (from 1) of the optimiser with the weights of ``groups``.

    Args:
        first: AdamW's first moment and Muon's momentum, (n,) as the others.
        second: AdamW's second moment; not used for the matrices that Muon has.
        gradients: of the parts of a batch, added up in their order; the first is overwritten.
        groups: without a gap between one and the next.
        rate: the scheduled learning rate.

    Returns:
        The norm of the sum of ``gradients`` before clipping, of the weights that move.
    """
    native, count = library(), weights.size
    parts = (ctypes.c_void_p * len(gradients))(*(address(part, count) for part in gradients))
    at_weights, at_first, at_second, at_total = (
        address(array, count) for array in (weights, first, second, gradients[0])
    )

    def add(piece: slice) -> float:
        return float(native.add_parts(parts, len(gradients), piece.start, piece.stop))

    moving = slice(groups[0].place.start, groups[-1].place.stop)
    norm = math.sqrt(sum(spread(add, _pieces(moving, _PIECE)), 0.0))
    clip = min(1.0, optimization.max_grad_norm / (norm + 1e-6))  # as torch.nn.utils.clip_grad_norm_

    def adamw(piece: slice, group: Group) -> None:
        at = 4 * piece.start
        native.adamw(
            *(at_weights + at, at_first + at, at_second + at, at_total + at, piece.stop - piece.start, clip),
            *(step, rate * group.rate, *optimization.betas, group.epsilon, group.weight_decay),
        )

    def muon(piece: slice, group: Group, rows: int, columns: int) -> None:
        memory = np.empty(native.muon_floats(rows, columns) + 16, np.float32)
        aligned = -(-memory.ctypes.data // 64) * 64
        at, matrices = 4 * piece.start, (piece.stop - piece.start) // (rows * columns)
        native.muon(
            *(at_weights + at, at_first + at, at_total + at, matrices, rows, columns),
            *(clip, rate * group.rate, group.weight_decay, aligned),
        )

    work: list[Callable[[], None]] = []
    for group in groups:
        if group.matrix:
            rows, columns = group.matrix
            size = max(1, _MUON_PIECE // (rows * columns)) * rows * columns
            work += [partial(muon, piece, group, rows, columns) for piece in _pieces(group.place, size)]
        else:
            work += [partial(adamw, piece, group) for piece in _pieces(group.place, _PIECE)]
    for _ in spread(lambda call: call(), work):
        pass
    return norm


def _pieces(place: slice, size: int) -> list[slice]:
    return [slice(start, min(start + size, place.stop)) for start in range(place.start, place.stop, size)]
