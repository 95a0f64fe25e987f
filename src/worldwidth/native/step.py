"""The loss of a tree of lines with its gradient, and greedy decoding, in C++.

Weights and gradients are flat arrays in the order of model/layout.py. A call releases Python's lock and runs on one
thread; threads are the caller's, each with a :class:`Workspace`.
"""

import numpy as np
from numpy.typing import NDArray

from worldwidth.core.errors import WorldwidthError
from worldwidth.data.tokenizer import EOS, PAD
from worldwidth.model.layout import DecoderConfig, Weights, parameter_count
from worldwidth.model.packing import Tree
from worldwidth.native.library import PackedTree, Sizes, address, library

_LARGEST_HEAD = 64
_CACHE_LINE = 64


class Workspace:
    """What one thread works in, for models of one shape; threads must not share one."""

    def __init__(self, config: DecoderConfig) -> None:
        self.sizes, self.weights = Sizes.of(config), parameter_count(config)
        self._memory = np.empty(0, np.float32)

    def memory(self, floats: int) -> int:
        """Address of so many floats; the next call may return the same."""
        if len(self._memory) < floats + _CACHE_LINE:
            self._memory = np.empty(floats + floats // 4 + _CACHE_LINE, np.float32)
        return -(-self._memory.ctypes.data // _CACHE_LINE) * _CACHE_LINE


def unavailable(config: DecoderConfig | None = None) -> str:
    """Why the native code cannot be used here, or for a model of this shape, in one line; empty if it can."""
    if config and (config.head_dim % 2 or config.head_dim > _LARGEST_HEAD):
        return f"no native code for heads of {config.head_dim} channels, only for an even number up to {_LARGEST_HEAD}"
    try:
        library()
    except WorldwidthError as error:
        return str(error)
    except OSError as error:
        return f"the native code could not be loaded: {error}"
    return ""


def gradient(
    workspace: Workspace, weights: Weights, out: Weights, tree: Tree, scale: float, matrices: bool = True
) -> float:
    """Sum of the losses of a tree's predictions in nats, times ``scale``; its gradient (n,) is written to ``out``.

    Without ``matrices`` that of the matrices behind the embedding is not, which saves a third of the work.
    """
    return _step(workspace, weights, out, tree, scale, matrices)


def loss(workspace: Workspace, weights: Weights, tree: Tree, scale: float) -> float:
    """Sum of the losses of a tree's predictions in nats, times ``scale``."""
    return _step(workspace, weights, None, tree, scale, False)


def _step(
    workspace: Workspace, weights: Weights, out: Weights | None, tree: Tree, scale: float, matrices: bool
) -> float:
    native, sizes, count = library(), workspace.sizes, workspace.weights
    packed, to = PackedTree.of(tree, sizes.vocabulary), None if out is None else address(out, count)
    memory = workspace.memory(native.step_floats(sizes, packed))
    return float(native.step(sizes, address(weights, count), to, packed, scale, matrices, memory))


def decode(workspace: Workspace, weights: Weights, tree: Tree, width: int) -> NDArray[np.int32]:
    """Greedy answers of up to ``width`` tokens for a tree of prompts, (lines, width): <pad> stands behind <eos>.

    A line's bits do not depend on the other lines.
    """
    native, sizes = library(), workspace.sizes
    packed = PackedTree.of(tree, sizes.vocabulary)
    answers = np.full((len(tree.queries), width), PAD, np.int32)
    memory = workspace.memory(native.decode_floats(sizes, packed, width))
    native.decode(sizes, address(weights, workspace.weights), packed, width, EOS, address(answers), memory)
    every_line: NDArray[np.int32] = answers[tree.sources]
    return every_line
