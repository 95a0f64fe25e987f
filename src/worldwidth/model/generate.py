"""Greedy decoding: prompts of equal length together, a key-value cache, and lines dropped when they end."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldwidth.data.corpus import Lines
from worldwidth.data.tokenizer import EOS, EQUALS, PAD
from worldwidth.model.decoder import CachedAttention, Decoder


@torch.inference_mode()
def greedy_answers(model: Decoder, lines: Lines, max_new_tokens: int, batch_size: int) -> NDArray[np.int64]:
    """Continue every line after its '='.

    Returns:
        (n, max_new_tokens) ids: the answer, <eos> where the model ended it, <pad> behind.
    """
    model.eval()
    device = model.embed.weight.device
    prompt_lengths = (lines.tokens == EQUALS).argmax(axis=1) + 1
    answers = np.full((len(lines), max_new_tokens), PAD, dtype=np.int64)
    for length in np.unique(prompt_lengths):
        rows = np.flatnonzero(prompt_lengths == length)
        for start in range(0, len(rows), batch_size):
            chosen = rows[start : start + batch_size]
            prompts = torch.from_numpy(lines.tokens[chosen, :length].astype(np.int64)).to(device)
            answers[chosen] = _continue(model, prompts, max_new_tokens)
    return answers


def _continue(model: Decoder, prompts: torch.Tensor, max_new_tokens: int) -> NDArray[Any]:
    """(lines, length) prompts -> (lines, max_new_tokens) continuations."""
    count, length = prompts.shape
    attention = CachedAttention(model.config.num_hidden_layers, lines=count)
    answers = torch.full((count, max_new_tokens), PAD, device=prompts.device)
    alive = torch.arange(count, device=prompts.device)
    positions = torch.arange(length, device=prompts.device).repeat(count)
    hidden = model(prompts.flatten(), positions, attention).view(count, length, -1)[:, -1]
    for new in range(max_new_tokens):
        chosen = model.lm_head(hidden).argmax(dim=-1)
        answers[alive, new] = chosen
        going_on = (chosen != EOS).nonzero().squeeze(1)
        if not len(going_on) or new == max_new_tokens - 1:
            break
        if len(going_on) < len(alive):
            attention.keep(going_on)
            alive, chosen = alive[going_on], chosen[going_on]
        hidden = model(chosen, torch.full_like(chosen, length + new), attention)
    return answers.cpu().numpy()


def true_answers(lines: Lines, width: int) -> NDArray[np.int64]:
    """The answers in the lines, in the form of :func:`greedy_answers`."""
    start = (lines.tokens == EQUALS).argmax(axis=1) + 1
    padded = np.pad(lines.tokens, ((0, 0), (0, width)), constant_values=PAD).astype(np.int64)
    answers: NDArray[np.int64] = np.take_along_axis(padded, start[:, None] + np.arange(width), axis=1)
    return answers
