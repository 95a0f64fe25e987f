"""The sizes of a model, and where each of its weights lies in one flat float32 array.

All weights of a model are one array (n,). What trains and decodes, in whatever language, works on views of it, and an
optimiser is arithmetic on slices of it: first the matrices outside the layers, then those of the layers, kind by kind
so that matrices of one shape lie together, then the vectors.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldwidth.settings.compute import vocabulary_size
from worldwidth.settings.schema import Scale, Sizes

Weights = NDArray[np.float32]

OUTSIDE = ("embed", "lm_head")
"""Matrices outside the layers: weight decay; AdamW even under ``muon``."""
MATRICES = ("qkv", "o", "gate_up", "down")
"""Matrices of the layers: weight decay; Muon under ``muon``."""
FUSED = {"qkv": 3, "gate_up": 2}
"""Matrices of the layers that are several of one shape, their rows under each other."""
VECTORS = ("input_norm", "qkv_bias", "post_norm", "norm")
"""Norms and biases: no weight decay."""


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The sizes that fix the weights' shapes, under transformers' names."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    rms_norm_eps: float
    rope_theta: float
    initializer_range: float

    @classmethod
    def of(cls, scale: Scale, sizes: Sizes) -> "DecoderConfig":
        """A model of ``sizes`` at ``scale``."""
        return cls(
            vocab_size=vocabulary_size(scale),
            hidden_size=sizes.hidden_size,
            intermediate_size=sizes.intermediate_size,
            num_hidden_layers=sizes.num_hidden_layers,
            num_attention_heads=sizes.num_attention_heads,
            rms_norm_eps=scale.model.rms_norm_eps,
            rope_theta=scale.model.rope_theta,
            initializer_range=scale.model.initializer_range,
        )

    @property
    def head_dim(self) -> int:
        """Channels of an attention head."""
        return self.hidden_size // self.num_attention_heads


def shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape, in the order in which they lie in the flat array; those of the layers have the layer first.

    The rows of q, k and v lie under each other in ``qkv``, those of gate and up in ``gate_up``. The rows of q and k
    have each rotary pair of channels side by side (2 c, 2 c + 1), where transformers pairs c with c + head_dim / 2.
    """
    d, inner, layers, vocabulary = (
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.vocab_size,
    )
    return {
        "embed": (vocabulary, d),
        "lm_head": (vocabulary, d),
        "qkv": (layers, 3 * d, d),
        "o": (layers, d, d),
        "gate_up": (layers, 2 * inner, d),
        "down": (layers, d, inner),
        "input_norm": (layers, d),
        "qkv_bias": (layers, 3 * d),
        "post_norm": (layers, d),
        "norm": (d,),
    }


def slices(config: DecoderConfig) -> dict[str, slice]:
    """Name -> where it lies in the flat array."""
    found: dict[str, slice] = {}
    start = 0
    for name, shape in shapes(config).items():
        found[name] = slice(start, start := start + math.prod(shape))
    return found


def parameter_count(config: DecoderConfig) -> int:
    """Number of weights."""
    return sum(map(math.prod, shapes(config).values()))


def views(flat: Weights, config: DecoderConfig) -> dict[str, Weights]:
    """Name -> its part of the flat array, in its shape; writing to one writes to the other."""
    places = slices(config)
    return {name: flat[places[name]].reshape(shape) for name, shape in shapes(config).items()}
