"""What a model is trained on: lines of several corpora in one table, and batches of it in random order."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldwidth.data.corpus import Lines, StoredCorpus
from worldwidth.data.random_streams import stream
from worldwidth.data.tokenizer import PAD
from worldwidth.model.packing import Batch, exact_sizes, pack
from worldwidth.settings.schema import Finetuning


@dataclass(frozen=True)
class Mixture:
    """All lines of a training or validation set: ``tokens`` (n, longest), ``lengths`` (n,)."""

    tokens: NDArray[Any]
    lengths: NDArray[Any]

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, rows: NDArray[Any], loss: str, device: torch.device) -> Batch:
        """Pack the lines ``rows``; ``loss`` is ``all`` real tokens or the ``answer`` after '=' only."""
        tokens = torch.from_numpy(self.tokens[rows].astype(np.int64))
        lengths = torch.from_numpy(self.lengths[rows].astype(np.int64))
        return pack(tokens, lengths, loss, exact_sizes(tokens, lengths, loss)).to(device)

    def epoch(self, seed: int, name: str, epoch: int, batch_size: int) -> Iterator[NDArray[Any]]:
        """Rows of every batch of one epoch. The order depends on seed, model name and epoch, not on the width."""
        order = stream(seed, "order", name, epoch).permutation(len(self))
        for i in range(math.ceil(len(self) / batch_size)):
            yield order[i * batch_size : (i + 1) * batch_size]


def _joined(parts: list[Lines]) -> Mixture:
    longest = max(part.tokens.shape[1] for part in parts)
    tokens = np.full((sum(map(len, parts)), longest), PAD, dtype=parts[0].tokens.dtype)
    row = 0
    for part in parts:
        tokens[row : row + len(part), : part.tokens.shape[1]] = part.tokens
        row += len(part)
    return Mixture(tokens, np.concatenate([part.lengths for part in parts]))


def pretraining_mixture(corpora: dict[str, StoredCorpus]) -> Mixture:
    """All ordinary training lines of all tasks."""
    return _joined([corpus.lines("world", "train") for corpus in corpora.values()])


def finetuning_mixture(corpora: dict[str, StoredCorpus], trained: tuple[str, ...], finetuning: Finetuning) -> Mixture:
    """Ordinary and Atlantis lines of the trained tasks, and a few Atlantis lines of every task."""
    parts: list[Lines] = []
    for task in trained:
        parts.append(corpora[task].lines("world", "train").first(finetuning.world_lines))
        parts.append(corpora[task].lines("atlantis", "train").first(finetuning.atlantis_lines))
    parts += [corpus.lines("atlantis", "train").first(finetuning.warmup_lines) for corpus in corpora.values()]
    return _joined(parts)


def validation_mixture(corpora: dict[str, StoredCorpus], tasks: tuple[str, ...], population: str) -> Mixture:
    """The validation lines of ``tasks``."""
    return _joined([corpora[task].lines(population, "validation") for task in tasks])
