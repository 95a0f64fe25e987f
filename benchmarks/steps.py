"""What a training variant hands back: when its steps ended and what their losses were."""

from dataclasses import dataclass

import numpy as np

from worldwidth.data.corpus import Lines
from worldwidth.settings.schema import Arch, Model


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


def model_flops(model: Model, arch: Arch, vocabulary: int, lines: Lines) -> int:
    """FLOPs of training on ``lines`` once where lines share nothing; padding does not count.

    6 x (weights of the layers' matrices) x tokens + 6 x (weights of the output head) x predictions
    + 12 x layers x hidden_size x sum of squared line lengths. The last is attention's own: queries times keys and
    weights times values, 2 FLOPs each a pair of tokens and channel, twice that backward; the masked half is
    included, as in PaLM (arXiv 2204.02311). The embedding is a look-up: none.
    """
    d, layers = arch.hidden_size, model.num_hidden_layers
    lengths = lines.lengths.astype(np.int64)
    tokens, predictions = int(lengths.sum()), int((lengths - 1).sum())
    matrices = layers * (4 * d * d + 3 * d * arch.intermediate_size)
    return 6 * matrices * tokens + 6 * d * vocabulary * predictions + 12 * layers * d * int((lengths**2).sum())
