"""What a model is trained on: lines of several corpora in one table, and batches of it in random order."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.data.corpus import Lines, StoredCorpus
from worldwidth.data.random_streams import stream
from worldwidth.data.tokenizer import EQUALS, PAD
from worldwidth.model.packing import in_order
from worldwidth.model.safe_tensors import array_digest
from worldwidth.settings.schema import Finetuning

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    """All lines of a training or validation set in lexicographic order: ``tokens`` (n, longest), ``lengths`` (n,)."""

    tokens: NDArray[Any]
    lengths: NDArray[Any]

    @classmethod
    def of(cls, parts: list[Lines]) -> "Mixture":
        """The lines of all ``parts``."""
        tokens = np.full(
            (sum(map(len, parts)), max(part.tokens.shape[1] for part in parts)), PAD, parts[0].tokens.dtype
        )
        row = 0
        for part in parts:
            tokens[row : row + len(part), : part.tokens.shape[1]] = part.tokens
            row += len(part)
        order = in_order(tokens)
        return cls(tokens[order], np.concatenate([part.lengths for part in parts])[order])

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all lines."""
        return array_digest(self.tokens, self.lengths)

    def prediction_counts(self, loss: str) -> NDArray[np.int64]:
        """How many predictions of each line the loss counts, (n,): ``all``, or the ``answer`` after '='."""
        first = (self.tokens == EQUALS).argmax(axis=1) if loss == "answer" else 0
        return self.lengths.astype(np.int64) - 1 - first

    def epoch(self, seed: int, name: str, epoch: int, batch_size: int) -> Iterator[Rows]:
        """Rows of every batch of one epoch, ascending: the lines of a batch are in lexicographic order, too.

        What a batch holds depends on seed, model name and epoch, not on the width.
        """
        order = stream(seed, "order", name, epoch).permutation(len(self))
        for i in range(math.ceil(len(self) / batch_size)):
            yield np.sort(order[i * batch_size : (i + 1) * batch_size])


def pretraining_mixture(corpora: dict[str, StoredCorpus], atlantis: bool = False) -> Mixture:
    """All ordinary training lines of all tasks, and those about ``atlantis`` that the stage ``added`` put beside."""
    populations = ("world", "added") if atlantis else ("world",)
    return Mixture.of([corpus.lines(name, "train") for name in populations for corpus in corpora.values()])


def finetuning_mixture(corpora: dict[str, StoredCorpus], trained: tuple[str, ...], finetuning: Finetuning) -> Mixture:
    """Ordinary and Atlantis lines of the trained tasks, and a few Atlantis lines of every task."""
    parts: list[Lines] = []
    for task in trained:
        parts.append(corpora[task].lines("world", "train").first(finetuning.world_lines))
        parts.append(corpora[task].lines("atlantis", "train").first(finetuning.atlantis_lines))
    parts += [corpus.lines("atlantis", "train").first(finetuning.warmup_lines) for corpus in corpora.values()]
    return Mixture.of(parts)


def validation_mixture(corpora: dict[str, StoredCorpus], tasks: tuple[str, ...], population: str) -> Mixture:
    """The validation lines of ``tasks``."""
    return Mixture.of([corpora[task].lines(population, "validation") for task in tasks])
