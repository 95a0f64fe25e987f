"""Greedy answers to test lines: the prompts as prefix trees, equal ones once, whatever it is that decodes them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.core.silence import sign_of_life
from worldwidth.data.corpus import Lines
from worldwidth.data.tokenizer import EQUALS, PAD
from worldwidth.model.packing import Ints, Tree, in_order, pack

Decode = Callable[[Tree, int], Ints]
"""(prompts, width) -> (lines, width) ids: what follows each line, <eos> where the model ended it, <pad> behind."""


def greedy_answers(decode: Decode, lines: Lines, max_new_tokens: int, batch_size: int) -> NDArray[np.int64]:
    """Continue every line after its '='.

    Args:
        batch_size: how many different prompts are decoded at once.

    Returns:
        (n, max_new_tokens) ids: the answer, <eos> where the model ended it, <pad> behind.
    """
    lengths = (lines.tokens == EQUALS).argmax(axis=1) + 1
    prompts = np.where(np.arange(lines.tokens.shape[1]) < lengths[:, None], lines.tokens, PAD)
    order = in_order(prompts)
    prompts, lengths = prompts[order], lengths[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (prompts[1:] != prompts[:-1]).any(axis=1)
    distinct = np.flatnonzero(is_new)
    batches = [distinct[start : start + batch_size] for start in range(0, len(distinct), batch_size)]
    decoded = list[Ints]()
    for rows in batches:
        decoded.append(decode(pack(prompts[rows], lengths[rows], "next"), max_new_tokens))
        sign_of_life()
    answers = np.empty((len(order), max_new_tokens), np.int64)
    answers[order] = np.concatenate(decoded)[np.cumsum(is_new) - 1]
    return answers


def true_answers(lines: Lines, width: int) -> NDArray[np.int64]:
    """The answers in the lines, in the form of :func:`greedy_answers`."""
    start = (lines.tokens == EQUALS).argmax(axis=1) + 1
    padded: NDArray[Any] = np.pad(lines.tokens, ((0, 0), (0, width)), constant_values=PAD).astype(np.int64)
    answers: NDArray[np.int64] = np.take_along_axis(padded, start[:, None] + np.arange(width), axis=1)
    return answers
