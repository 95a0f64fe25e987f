"""The decoder in plain torch, a line at a time and without any sharing: what native code is compared with."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from worldwidth.core.errors import WorldwidthError
from worldwidth.data.tokenizer import EOS, EQUALS, PAD
from worldwidth.model.layout import DecoderConfig, Weights, views
from worldwidth.model.parametrization import initial_weights
from worldwidth.native.build import instruction_set

try:
    NATIVE = instruction_set()
except WorldwidthError as error:
    NATIVE = str(error)
needs_native = pytest.mark.skipif(" " in NATIVE, reason=NATIVE)
"""Skips on a processor for which there is no native code; that it can't be built is a failure."""


def tensors(weights: Weights, config: DecoderConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """Copies of the weights under their names, which gradients can be taken for."""
    copies = {name: torch.from_numpy(view.copy()).to(dtype) for name, view in views(weights, config).items()}
    return {name: copy.requires_grad_() for name, copy in copies.items()}


def logits(config: DecoderConfig, weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    """(lines, longest) ids -> (lines, longest, vocabulary); what stands behind a line changes nothing before it."""
    heads, size, dtype = config.num_attention_heads, config.head_dim, weights["embed"].dtype
    lines, longest = ids.shape
    frequencies = config.rope_theta ** -(torch.arange(0, size, 2, dtype=torch.float32) / size)
    angles = (torch.arange(longest, dtype=torch.float32)[:, None] * frequencies).to(dtype)[:, None]

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + config.rms_norm_eps) * weight

    def rotate(x: Tensor) -> Tensor:
        real, imaginary, cosine, sine = x[..., ::2], x[..., 1::2], angles.cos(), angles.sin()
        return torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], -1).flatten(-2)

    x = weights["embed"][ids]
    future = torch.full((longest, longest), -torch.inf, dtype=dtype).triu(1)
    for layer in range(config.num_hidden_layers):
        qkv = F.linear(norm(x, weights["input_norm"][layer]), weights["qkv"][layer], weights["qkv_bias"][layer])
        q, k, v = qkv.view(lines, longest, 3, heads, size).unbind(2)
        scores = torch.einsum("blhc,bmhc->bhlm", rotate(q), rotate(k)) * size**-0.5 + future
        mixed = torch.einsum("bhlm,bmhc->blhc", scores.softmax(-1), v).reshape(lines, longest, -1)
        x = x + mixed @ weights["o"][layer].T
        gate, up = (norm(x, weights["post_norm"][layer]) @ weights["gate_up"][layer].T).chunk(2, -1)
        x = x + (F.silu(gate) * up) @ weights["down"][layer].T
    return norm(x, weights["norm"]) @ weights["lm_head"].T


def mean_loss(
    config: DecoderConfig, weights: dict[str, Tensor], tokens: NDArray[np.int32], lengths: NDArray[np.int32], loss: str
) -> Tensor:
    """Mean cross-entropy in nats of what ``loss`` counts."""
    ids = torch.from_numpy(tokens.astype(np.int64))
    columns = torch.arange(ids.shape[1])
    counted = columns < torch.from_numpy(lengths.astype(np.int64))[:, None] - 1
    if loss == "answer":
        counted &= columns >= (ids == EQUALS).int().argmax(1)[:, None]
    return F.cross_entropy(logits(config, weights, ids)[counted], ids.roll(-1, 1)[counted])


def answer(config: DecoderConfig, weights: dict[str, Tensor], prompt: list[int], width: int) -> list[int]:
    """The greedy continuation of one prompt by up to ``width`` tokens, <pad> behind <eos>."""
    line = list(prompt)
    while len(line) < len(prompt) + width and EOS not in line[len(prompt) :]:
        line.append(int(logits(config, weights, torch.tensor([line]))[0, -1].argmax()))
    return line[len(prompt) :] + [PAD] * (len(prompt) + width - len(line))


def a_config(hidden: int, inner: int, heads: int, layers: int = 2, vocabulary: int = 101) -> DecoderConfig:
    """A model of that shape."""
    return DecoderConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        rms_norm_eps=1e-6,
        rope_theta=10_000.0,
        initializer_range=0.1,
    )


def some_weights(config: DecoderConfig, seed: int = 0) -> Weights:
    """Weights with norms and biases that are not those of a new model."""
    weights = initial_weights(config, seed)
    return weights + 0.05 * np.random.default_rng(seed).standard_normal(len(weights), np.float32)


def some_lines(count: int, shortest: int, longest: int, seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Lines of few different tokens, so that many begin alike, each with one '=': tokens (n, longest), lengths (n,).

    In lexicographic order, as trees ask for.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, count)
    lengths[:2] = shortest, longest
    lines = []
    for length in lengths:
        line = [2, *rng.integers(4, 7, length - 1)]
        line[rng.integers(length - 1)] = EQUALS
        lines.append(line)
    lines = sorted([*lines, lines[-1]])
    tokens = np.array([[*line, *[PAD] * (longest - len(line))] for line in lines], np.int32)
    return tokens, np.array([len(line) for line in lines], np.int32)
