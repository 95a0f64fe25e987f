"""Lines of different lengths in one row of tokens, so that no linear layer works on padding.

Every shape follows from three numbers that may be given beforehand. On a CPU they are those of the
batch at hand, and nothing is padded. On a GPU they are the largest of the whole run: then the row ends in
a little padding, no size has to be fetched from the device, and a recorded step fits every batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldwidth.data.tokenizer import EQUALS

IGNORED = -100  # cross_entropy's ignore_index: a target that the loss does not count


@dataclass(frozen=True)
class Sizes:
    """The shape of a batch."""

    longest: int
    """Columns, at least the tokens of its longest line."""
    tokens: int
    """T, at least the real tokens of all its lines."""
    predictions: int
    """P, at least the tokens whose prediction the loss counts."""


@dataclass(frozen=True)
class Batch:
    """Some lines packed: T tokens, of which ``sources`` predict ``targets``."""

    ids: Tensor
    """(T,) token ids, line after line; what is behind the last line is padding."""
    lengths: Tensor
    """(lines,) tokens of each line."""
    sources: Tensor
    """(P,) packed positions whose next token the loss counts; 0 where there are fewer."""
    targets: Tensor
    """(P,) those next tokens; IGNORED where there are fewer."""
    longest: int

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        ids, lengths, sources, targets = (
            tensor.to(device) for tensor in (self.ids, self.lengths, self.sources, self.targets)
        )
        return Batch(ids, lengths, sources, targets, self.longest)


def exact_sizes(tokens: Tensor, lengths: Tensor, loss: str) -> Sizes:
    """The sizes that fit these lines exactly; on a GPU this waits for the device."""
    return Sizes(int(lengths.max()), int(lengths.sum()), int(prediction_counts(tokens, lengths, loss).sum()))


def prediction_counts(tokens: Tensor, lengths: Tensor, loss: str) -> Tensor:
    """How many predictions of each line (n, longest) the loss counts, (n,): ``all``, or the ``answer`` after '='."""
    first = (tokens == EQUALS).int().argmax(dim=1) if loss == "answer" else torch.zeros_like(lengths)
    return (lengths - 1 - first).clamp(min=0)


def pack(tokens: Tensor, lengths: Tensor, loss: str, sizes: Sizes) -> Batch:
    """Pack lines (n, columns) of ``lengths`` (n,) tokens; a line of length 0 is none.

    No step of it waits for the device, and the shapes of the result are ``sizes`` whatever the lines are.
    """
    columns = torch.arange(sizes.longest, device=tokens.device)
    tokens = tokens[:, : sizes.longest]
    real = columns < lengths[:, None]
    predicts = columns + 1 < lengths[:, None]
    if loss == "answer":
        predicts &= columns >= (tokens == EQUALS).int().argmax(dim=1)[:, None]
    places = true_places(real.flatten(), sizes.tokens)
    # One more than the last: what stands behind the real tokens, and behind the real predictions.
    ids = torch.cat([tokens.flatten(), tokens.new_zeros(1)])[places].long()
    rank = real.flatten().cumsum(0) - 1  # packed position of every real token
    predicting = true_places(predicts.flatten(), sizes.predictions)
    counted = predicting < predicts.numel()
    sources = torch.where(counted, rank[predicting.clamp(max=predicts.numel() - 1)], 0)
    targets = torch.where(counted, ids[(sources + 1).clamp(max=sizes.tokens - 1)], IGNORED)
    return Batch(ids, lengths, sources, targets, sizes.longest)


def true_places(flags: Tensor, size: int) -> Tensor:
    """Indices of the true entries of ``flags`` (n,) in order, (size,); n where there are fewer.

    ``nonzero`` would do, but its shape depends on the values.
    """
    count = len(flags)
    order = torch.where(flags, flags.cumsum(0) - 1, size)
    found = torch.full((size + 1,), count, device=flags.device)
    return found.scatter(0, order, torch.arange(count, device=flags.device))[:size]
