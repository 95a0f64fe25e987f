"""Prefix trees as tensors: those of several models at once, padded to one shape.

Every shape follows from a few sizes. On a CPU they are those of the tree at hand, and nothing is padded. On a GPU they
are the largest of the whole run: then no size has to be fetched from the device, and a recorded step fits every batch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldwidth.model.packing import Ints, Tree

_CPU = torch.device("cpu")
IGNORED = -100
"""A target that the loss does not count."""


@dataclass(frozen=True)
class Sizes:
    """The shape of a tree, or of anything that it fits into."""

    lines: int
    longest: int
    """Columns, at least the tokens of its longest line."""
    nodes: int
    queries: int
    predictions: int
    width: int
    """At least the positions of any line between its first query and its last, both counted."""

    @classmethod
    def of(cls, tree: Tree) -> "Sizes":
        """The sizes that fit ``tree`` exactly."""
        lines, longest = tree.nodes.shape
        first, last = _query_range(tree)
        width = int((last - first).max(initial=0)) + 1
        return cls(lines, longest, len(tree.ids), len(tree.queries), len(tree.sources), width)

    def fields(self) -> dict[str, tuple[int, ...]]:
        """The shapes of a padded tree's arrays, by name."""
        return {
            "ids": (self.nodes,),
            "positions": (self.nodes,),
            "nodes": (self.lines, self.longest),
            "slots": (self.nodes,),
            "queries": (self.queries,),
            "query_starts": (self.lines,),
            "query_slots": (self.queries,),
            "sources": (self.predictions,),
            "targets": (self.predictions,),
        }


@dataclass(frozen=True)
class Grid:
    """Where queries stand when lines lie side by side."""

    slots: Tensor
    """(models, Q) the place of each query among all lines * width; one past the last where there is none."""
    starts: Tensor
    """(models * lines,) the position of the first column of each line."""
    width: int


@dataclass(frozen=True)
class Trees:
    """One padded tree for each model; indices go into all models' rows under each other."""

    ids: Tensor
    """(models, N) rows of the models' embeddings."""
    positions: Tensor
    """(models, N)"""
    nodes: Tensor
    """(models * lines, longest); models * N where there is no token."""
    queries: Tensor
    """(models, M)"""
    sources: Tensor
    """(models, P) which of the models * M queries."""
    targets: Tensor
    """(models, P) tokens; IGNORED where there is none."""
    inner: Grid
    """All nodes, for the layers before the last."""
    last: Grid
    """The queries, for the last layer."""


def padded(tree: Tree, sizes: Sizes) -> dict[str, Ints]:
    """The arrays of ``sizes.fields()`` for one tree, whose indices count this model's own rows."""
    found = {name: np.zeros(shape, np.int32) for name, shape in sizes.fields().items()}
    lines, longest = tree.nodes.shape
    slots, (first, _) = _slots(tree), _query_range(tree)
    rows, columns = np.divmod(slots, longest)
    found["ids"][: len(tree.ids)] = tree.ids
    found["positions"][: len(tree.ids)] = tree.positions
    found["nodes"][:] = sizes.nodes
    found["nodes"][:lines, :longest] = np.where(tree.nodes < 0, sizes.nodes, tree.nodes)
    found["slots"][:] = sizes.lines * sizes.longest
    found["slots"][: len(slots)] = rows * sizes.longest + columns
    found["queries"][: len(tree.queries)] = tree.queries
    found["query_starts"][:lines] = first
    found["query_slots"][:] = sizes.lines * sizes.width
    of_queries = tree.queries
    found["query_slots"][: len(of_queries)] = rows[of_queries] * sizes.width + (columns - first[rows])[of_queries]
    found["sources"][: len(tree.sources)] = tree.sources
    found["targets"][:] = IGNORED
    found["targets"][: len(tree.targets)] = tree.targets
    return found


def _slots(tree: Tree) -> NDArray[np.int64]:
    """The place of every node among lines * longest: that in the first line that has it, (N,)."""
    columns = np.arange(tree.nodes.shape[1])
    new = (columns >= tree.shared[:, None]) & (columns < tree.lengths[:, None])
    return np.flatnonzero(new.ravel())


def _query_range(tree: Tree) -> tuple[NDArray[Any], NDArray[Any]]:
    """Position of the first and the last query that stands in each line, (lines,) both; 0 where there is none."""
    rows, columns = np.divmod(_slots(tree)[tree.queries], tree.nodes.shape[1])
    first = np.full(len(tree.nodes), tree.nodes.shape[1], np.int64)
    last = np.full(len(tree.nodes), -1, np.int64)
    np.minimum.at(first, rows, columns)
    np.maximum.at(last, rows, columns)
    none = last < 0
    first[none] = last[none] = 0
    return first, last


def assembled(arrays: dict[str, Tensor], sizes: Sizes, vocabulary: int) -> Trees:
    """The trees of models whose :func:`padded` arrays are stacked, name -> (models, ...); on their device."""
    models = len(arrays["ids"])
    at = torch.arange(models, device=arrays["ids"].device)[:, None]

    def shifted(name: str, each: int, none: bool = False) -> Tensor:
        """Indices below ``each`` as those into all models; one that is ``each``, for none, goes last."""
        index = arrays[name].flatten(1)
        moved = index + at * each
        return (torch.where(index == each, models * each, moved) if none else moved).long()

    lines = sizes.lines
    return Trees(
        ids=shifted("ids", vocabulary),
        positions=arrays["positions"],
        nodes=shifted("nodes", sizes.nodes, none=True).view(models * lines, sizes.longest),
        queries=shifted("queries", sizes.nodes),
        sources=shifted("sources", sizes.queries),
        targets=arrays["targets"],
        inner=Grid(
            shifted("slots", lines * sizes.longest, none=True),
            torch.zeros(models * lines, dtype=torch.int32, device=at.device),
            sizes.longest,
        ),
        last=Grid(
            shifted("query_slots", lines * sizes.width, none=True), arrays["query_starts"].flatten(), sizes.width
        ),
    )


def tensors_of(tree: Tree, vocabulary: int, device: torch.device = _CPU) -> Trees:
    """One model's tree, without padding."""
    sizes = Sizes.of(tree)
    arrays = {name: torch.from_numpy(array)[None].to(device) for name, array in padded(tree, sizes).items()}
    return assembled(arrays, sizes, vocabulary)
