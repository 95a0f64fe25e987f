"""What a model makes of a city: its residual stream while it reads the start of a task's prompt.

A prompt goes up to the first city and the separator behind it, as ``dist(c_042,``: what follows is not yet known, so
that nothing but the city tells prompts of one task apart. The forward pass is that of model/decoder.py in numpy, for
which torch need not be loaded: that takes longer than all prompts of a small model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldwidth.data.tokenizer import BOS, Vocabulary, characters
from worldwidth.model.layout import MATRICES, DecoderConfig, Weights, views
from worldwidth.tasks import Integers, Task

_OF_LAYERS = (*MATRICES, "input_norm", "qkv_bias", "post_norm")

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Prompts:
    """One prompt a city, all of one task and equally long."""

    tokens: Integers
    """(cities, length)"""
    places: tuple[int, int]
    """Where the last token of the city stands, and the separator's last."""


def prompts_of(task: Task, vocabulary: Vocabulary) -> Prompts:
    """The prompts of ``task`` about every city of ``vocabulary``, real ones first."""
    fewest = 2 if isinstance(task.sizes, str) else task.sizes[0]
    before, after, *_ = (characters(piece) for piece in task.pieces(task.fixed_cities + fewest))
    cities = vocabulary.city_table()
    start, end = (np.tile(np.array(ids), (len(cities), 1)) for ids in ([BOS, *before], after))
    tokens = np.concatenate([start, cities, end], axis=1)
    return Prompts(tokens, (tokens.shape[1] - len(after) - 1, tokens.shape[1] - 1))


def hidden_states(config: DecoderConfig, weights: Weights, prompts: Prompts) -> Features:
    """Residual stream after the embedding and after each layer, at the city and at the separator behind each other.

    Args:
        weights: (n,), flat.

    Returns:
        (layers + 1, cities, 2 hidden_size)
    """
    named = views(weights, config)
    rotation = _rotation(prompts.tokens.shape[1], config)
    x = named["embed"][prompts.tokens]  # (cities, length, hidden_size)
    streams = [x]
    for layer in range(config.num_hidden_layers):
        own = {name: named[name][layer] for name in _OF_LAYERS}
        mixed = _attention(_rms_norm(x, own["input_norm"], config) @ own["qkv"].T + own["qkv_bias"], rotation, config)
        x = x + mixed @ own["o"].T
        gate, up = np.split(_rms_norm(x, own["post_norm"], config) @ own["gate_up"].T, 2, axis=-1)
        x = x + (gate / (1 + np.exp(-gate)) * up) @ own["down"].T
        streams.append(x)
    return np.stack([x[:, prompts.places].reshape(len(x), -1) for x in streams])


def _rms_norm(x: Features, weight: Features, config: DecoderConfig) -> Features:
    found: Features = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + np.float32(config.rms_norm_eps)) * weight
    return found


def _rotation(length: int, config: DecoderConfig) -> NDArray[np.complex64]:
    """The rotary embedding's turns (arXiv 2104.09864): complex (length, head_dim / 2)."""
    channels = np.arange(0, config.head_dim, 2) / config.head_dim
    angles = np.arange(length)[:, None] * config.rope_theta**-channels
    turns: NDArray[np.complex64] = np.exp(1j * angles).astype(np.complex64)
    return turns


def _attention(qkv: Features, rotation: NDArray[np.complex64], config: DecoderConfig) -> Features:
    """Causal attention of every line to itself: (lines, length, 3 hidden_size) -> (lines, length, hidden_size)."""
    lines, length, _ = qkv.shape
    split = qkv.reshape(lines, length, 3, config.num_attention_heads, config.head_dim)
    q, k, v = split.transpose(2, 0, 3, 1, 4)  # (lines, heads, length, head_dim) each
    q, k = ((np.ascontiguousarray(part).view(np.complex64) * rotation).view(np.float32) for part in (q, k))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(np.float32(config.head_dim))
    scores[..., ~np.tri(length, dtype=bool)] = -np.inf
    share = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (share / share.sum(axis=-1, keepdims=True)) @ v
    found: Features = mixed.swapaxes(1, 2).reshape(lines, length, -1)
    return found
