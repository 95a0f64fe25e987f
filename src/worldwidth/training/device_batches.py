"""A run's training lines kept on its device, and batches of one shape made there without asking the host."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldwidth.model.packing import Batch, Sizes, pack, prediction_counts
from worldwidth.training.mixture import Mixture

_ROUND = 64  # sizes are rounded up to whole tiles of a matrix product
_CHUNK = 500_000  # lines looked at in one go: paper scale's seven million would be 3 GB of int64

Rows = NDArray[np.int64]


class ResidentLines:
    """The lines of a mixture on a device, with an empty line behind them that fills up short batches."""

    def __init__(self, mixture: Mixture, loss: str, device: torch.device) -> None:
        self.loss = loss
        # torch counts and gathers in few unsigned types: 16-bit ids become 32-bit ones
        kind = np.uint8 if mixture.tokens.dtype == np.uint8 else np.int32
        tokens = np.concatenate([mixture.tokens.astype(kind, copy=False), np.zeros((1, mixture.tokens.shape[1]), kind)])
        self._tokens = torch.from_numpy(tokens).to(device)
        self._lengths = torch.from_numpy(np.append(mixture.lengths.astype(np.int64), 0)).to(device)
        starts = range(0, len(self._lengths), _CHUNK)
        parts = [(self._tokens[start : start + _CHUNK], self._lengths[start : start + _CHUNK]) for start in starts]
        self._predictions = torch.cat([prediction_counts(*part, loss) for part in parts])

    def sizes(self, batches: Iterable[Rows]) -> Sizes:
        """The smallest sizes, rounded up, that fit every one of ``batches``."""
        lengths, predictions = self._lengths.cpu().numpy(), self._predictions.cpu().numpy()
        largest = np.max([[lengths[rows].sum(), predictions[rows].sum()] for rows in batches], axis=0)
        tokens, predicted = (-(-int(size) // _ROUND) * _ROUND for size in largest)
        return Sizes(longest=int(lengths.max()), tokens=tokens, predictions=predicted)

    def padded(self, rows: Rows, count: int) -> Rows:
        """``rows`` and the empty line as often as it takes to have ``count``."""
        return np.pad(rows, (0, count - len(rows)), constant_values=len(self._lengths) - 1)

    def batch(self, rows: Tensor, sizes: Sizes) -> Batch:
        """Pack the lines ``rows``, an index tensor on the device."""
        return pack(self._tokens[rows], self._lengths[rows], self.loss, sizes)


def largest(sizes: Iterator[Sizes]) -> Sizes:
    """The sizes that fit batches of all of ``sizes``."""
    longest, tokens, predictions = zip(*((s.longest, s.tokens, s.predictions) for s in sizes), strict=True)
    return Sizes(max(longest), max(tokens), max(predictions))
