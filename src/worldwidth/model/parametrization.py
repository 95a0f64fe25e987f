"""How the width changes initial weights and rates, and by which rule an optimiser moves each slice of the weights.

Under ``standard`` all widths have the same. Under ``mup``, the maximal update parametrization, these are multiplied,
with m the width over that of the reference:

======================  ===========  ==============  =================
weights                 initial std  rate            epsilon (AdamW's)
======================  ===========  ==============  =================
embed                   1            1               1 / m
qkv, o, gate_up, down   1 / sqrt(m)  AdamW's: 1 / m  1 / m
lm_head                 1 / m        1 / m           1
norms and biases        -            1               1 / m
======================  ===========  ==============  =================

Spread and rates are table 3 of Yang et al. 2022 (arXiv 2203.03466) for Adam, relative to the reference; its table 8
is the same with the head's factor on the logits, of which plain transformers would not know. Epsilon follows the size
of the gradients (Everett et al. 2024, arXiv 2407.05872): what comes back through the head is 1 / m of the reference's,
while the head's own gradient is as large as there. Weight decay is times a group's rate, as in torch's AdamW. The
channels of a head are as many at every width, so that attention needs no factor.

A step of Muon changes what a matrix gives by as much at every width, if its aspect is the same: its rate stays. But
q, k, v and gate, up are matrices of their own then, not one under the other.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from worldwidth.data.random_streams import stream
from worldwidth.model.layout import (
    FUSED,
    MATRICES,
    OUTSIDE,
    VECTORS,
    DecoderConfig,
    Weights,
    parameter_count,
    shapes,
    slices,
    views,
)
from worldwidth.settings.schema import Finetuning, Optimization


@dataclass(frozen=True)
class Group:
    """A slice of the flat weights, and how it is moved."""

    place: slice
    rate: float
    """Times the scheduled learning rate."""
    epsilon: float
    weight_decay: float
    matrix: tuple[int, int] | None = None
    """Rows and columns of each of the matrices that Muon has; None where AdamW has the weights."""


class Factors(NamedTuple):
    """What the width multiplies for one kind of weights."""

    initial: float
    rate: float
    epsilon: float


def factors(name: str, width_ratio: float | None) -> Factors:
    """Those of the weights ``name``, by the table above; all 1 where ``width_ratio`` is None, as under ``standard``."""
    m = width_ratio or 1.0
    if name in MATRICES:
        return Factors(m**-0.5, 1 / m, 1 / m)
    return Factors(1 / m, 1 / m, 1.0) if name == "lm_head" else Factors(1.0, 1.0, 1 / m)


def initial_weights(config: DecoderConfig, seed: int, width_ratio: float | None = None) -> Weights:
    """New weights (n,): matrices from N(0, initializer_range), times their factor; biases 0, norms 1."""
    flat = np.zeros(parameter_count(config), np.float32)
    rng = stream(seed, "initialization")
    for name, view in views(flat, config).items():
        if name in (*OUTSIDE, *MATRICES):
            spread = config.initializer_range * factors(name, width_ratio).initial
            view[:] = spread * rng.standard_normal(view.shape, np.float32)
        elif name.endswith("norm"):
            view[:] = 1.0
    return flat


def groups(
    config: DecoderConfig, optimization: Optimization, width_ratio: float | None = None, new_rows: int = 0
) -> list[Group]:
    """The weights that move, as slices that follow each other without a gap; the others stay as they are.

    Args:
        width_ratio: m of ``mup``; None under ``standard``.
        new_rows: so many last rows of ``embed`` are of cities that pre-training never saw.
    """
    places = slices(config)
    embed = places["embed"]
    if isinstance(optimization, Finetuning) and optimization.trainable == "new_embeddings":
        places = {"embed": slice(embed.stop - new_rows * config.hidden_size, embed.stop)}
    elif optimization.body_ratio == 0:
        places = {"embed": embed}
    return _joined([_group(name, place, config, optimization, width_ratio) for name, place in places.items()])


def _group(
    name: str, place: slice, config: DecoderConfig, optimization: Optimization, width_ratio: float | None
) -> Group:
    own = factors(name, width_ratio)
    decay = 0.0 if name in VECTORS else optimization.weight_decay
    if name in MATRICES and optimization.optimizer == "muon":
        _, rows, columns = shapes(config)[name]
        parts = FUSED.get(name, 1) if width_ratio else 1
        return Group(place, optimization.body_ratio, optimization.epsilon, decay, (rows // parts, columns))
    rate = own.rate if name == "embed" else own.rate * optimization.body_ratio
    return Group(place, rate, own.epsilon * optimization.epsilon, decay)


def _joined(found: list[Group]) -> list[Group]:
    """Neighbours that are moved alike as one: fewer, longer operations. Muon's have other shapes."""
    joined = found[:1]
    for group in found[1:]:
        last = joined[-1]
        if group.matrix is None and replace(last, place=group.place) == group:
            joined[-1] = replace(last, place=slice(last.place.start, group.place.stop))
        else:
            joined.append(group)
    return joined
