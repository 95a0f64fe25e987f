"""The decoder in torch, with the mathematics of Qwen2: same weights, same logits, fewer and larger operations.

Several models of one shape are computed at once: every tensor has a leading axis for them, of length 1 for a single
model. Their tokens are nodes of prefix trees (packing.py), so that what lines share is computed once; only in
attention do lines lie side by side. The last layer computes keys and values for every node, and all else only for the
nodes that something is predicted from.

Rotary embeddings pair channel i with i + head_dim / 2 in transformers; here the rows of q and k are stored with those
pairs side by side, so that the rotation is one complex product. checkpoint.py reorders the rows.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worldwidth.model.layout import MATRICES, DecoderConfig, shapes
from worldwidth.model.tree_tensors import IGNORED, Trees

Attend = Callable[[int, Tensor, Tensor], Tensor]
"""(layer, q (models, Q, 1, heads, head_dim), k and v (models, N, 2, heads, head_dim)) -> (models, Q, hidden_size)."""


@dataclass(frozen=True)
class Layer:
    """Weights of one layer, (models, ...) each."""

    qkv: Tensor
    o: Tensor
    gate_up: Tensor
    down: Tensor
    input_norm: Tensor
    qkv_bias: Tensor
    post_norm: Tensor


class Decoder:
    """Models of one shape: views of their flat weights (models, n), through which gradients flow back to it."""

    def __init__(self, config: DecoderConfig, flat: Tensor, embed: Tensor | None = None) -> None:
        """``embed`` (models, vocabulary * hidden_size) takes the place of the embedding in ``flat``."""
        self.config = config
        sizes = {name: math.prod(shape) for name, shape in shapes(config).items()}
        parts = torch.split(
            flat, list(sizes.values()), dim=1
        )  # not slices: their gradients would each fill a whole tensor
        named = {
            name: part.view(len(flat), *shape)
            for (name, shape), part in zip(shapes(config).items(), parts, strict=True)
        }
        self.embed = named["embed"] if embed is None else embed.view_as(named["embed"])
        self.lm_head, self.norm = named["lm_head"], named["norm"]
        of_layers = (*MATRICES, "input_norm", "qkv_bias", "post_norm")
        self.layers = [Layer(*each) for each in zip(*(named[name].unbind(1) for name in of_layers), strict=True)]

    def hidden(self, ids: Tensor, positions: Tensor, attend: Attend, queries: Tensor | None = None) -> Tensor:
        """Residual stream after the final norm, (models, M, hidden_size); arguments as of :meth:`streams`."""
        for x in self.streams(ids, positions, attend, queries):
            last = x
        return self._rms_norm(last, self.norm)

    def streams(
        self, ids: Tensor, positions: Tensor, attend: Attend, queries: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Residual stream after the embedding and after each layer, the last for the queries alone.

        Args:
            ids: tokens (models, N), as rows of all models' embeddings under each other.
            positions: (models, N).
            queries: (models, M) of the models' N nodes, as rows of all of them under each other; None for all.

        Yields:
            (models, N, hidden_size), at last (models, M, hidden_size)
        """
        models, count = ids.shape
        config, heads = self.config, self.config.num_attention_heads
        rotation = _rotation(positions, config)
        x = self.embed.flatten(0, 1).index_select(0, ids.flatten()).view(models, count, -1)
        yield x
        for index, layer in enumerate(self.layers):
            d = config.hidden_size
            (w_q, w_kv), (b_q, b_kv) = (torch.split(part, [d, 2 * d], 1) for part in (layer.qkv, layer.qkv_bias))
            h = self._rms_norm(x, layer.input_norm)
            k, v = _linear(h, w_kv, b_kv).view(models, count, 2, heads, -1).chunk(2, dim=2)
            k = _rotate(k, rotation)
            if queries is not None and index == len(self.layers) - 1:
                x, h, rotation = (_take(tensor, queries) for tensor in (x, h, rotation))
            q = _rotate(_linear(h, w_q, b_q).view(models, h.shape[1], 1, heads, -1), rotation)
            x = x + _linear(attend(index, q, torch.cat([k, v], 2)), layer.o)
            gate, up = _linear(self._rms_norm(x, layer.post_norm), layer.gate_up).chunk(2, dim=-1)
            x = x + _linear(F.silu(gate) * up, layer.down)
            yield x

    def logits(self, hidden: Tensor) -> Tensor:
        """(models, M, hidden_size) -> (models, M, vocabulary)."""
        return _linear(hidden, self.lm_head)

    def activations(self, trees: Trees) -> dict[str, Tensor]:
        """Residual stream after the embedding and each layer, and logits: name -> (models, ..., channels)."""
        attend = TreeAttention(trees, len(self.layers))
        streams = list(self.streams(trees.ids, trees.positions, attend, trees.queries))
        names = ["embedding", *(f"layer {number}" for number in range(1, len(streams)))]
        logits = self.logits(self._rms_norm(streams[-1], self.norm))
        return {**dict(zip(names, streams, strict=True)), "logits": logits}

    def losses(self, trees: Trees) -> Tensor:
        """Sum of next-token cross-entropy over each model's counted predictions, in nats, (models,)."""
        attend = TreeAttention(trees, len(self.layers))
        logits = self.logits(self.hidden(trees.ids, trees.positions, attend, trees.queries)).float()
        models, _, vocabulary = logits.shape
        counted = logits.flatten(0, 1).index_select(0, trees.sources.flatten())
        each = F.cross_entropy(
            counted.view(-1, vocabulary), trees.targets.flatten().long(), ignore_index=IGNORED, reduction="none"
        )
        return each.view(models, -1).sum(1)

    def _rms_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=self.config.rms_norm_eps) * weight[:, None]


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(models, N, in) by (models, out, in), and a bias (models, out) -> (models, N, out)."""
    if bias is None:
        return torch.bmm(x, weight.mT)
    return torch.baddbmm(bias[:, None], x, weight.mT)


def _take(x: Tensor, rows: Tensor) -> Tensor:
    """(models, N, ...) and rows (models, M) of all models' N under each other -> (models, M, ...)."""
    return x.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, *x.shape[2:])


def _rotation(positions: Tensor, config: DecoderConfig) -> Tensor:
    """The rotary embedding's turns (arXiv 2104.09864): (models, N) -> complex (models, N, 1, 1, head_dim / 2)."""
    channels = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=positions.device)
    angles = positions[..., None].float() * config.rope_theta ** -(channels / config.head_dim)
    return torch.polar(torch.ones_like(angles), angles)[:, :, None, None]


def _rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """(models, N, 1, heads, head_dim), each pair of channels turned by its angle."""
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)


class TreeAttention:
    """Causal attention of the nodes of a tree to those on the way to its root.

    Only here do lines lie side by side, (lines, longest). A query stands where the first of its lines has it.
    """

    def __init__(self, trees: Trees, layers: int) -> None:
        self._trees, self._last = trees, layers - 1

    def __call__(self, layer: int, q: Tensor, kv: Tensor) -> Tensor:
        """See :data:`Attend`."""
        trees = self._trees
        lines, longest = trees.nodes.shape
        grid = trees.last if layer == self._last else trees.inner
        k, v = _rows_or_zeros(kv, trees.nodes.flatten()).view(lines, longest, *kv.shape[2:]).permute(2, 0, 3, 1, 4)
        spread = q.new_zeros(lines * grid.width + 1, *q.shape[3:]).index_copy(0, grid.slots.flatten(), q.flatten(0, 2))
        spread = spread[:-1].view(lines, grid.width, *q.shape[3:]).transpose(1, 2)
        columns = torch.arange(longest, device=q.device)
        allowed = columns <= (grid.starts[:, None] + columns[: grid.width])[..., None]  # (lines, width, longest)
        mixed = attention(spread, k, v, allowed).transpose(1, 2).flatten(0, 1)
        return _rows_or_zeros(mixed[None], grid.slots.flatten()).view(*q.shape[:2], -1)


def _rows_or_zeros(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of x (models, N, ...) under each other; zeros where a row is models * N."""
    flat = x.flatten(0, 1)
    return torch.cat([flat, flat.new_zeros(1, *flat.shape[1:])]).index_select(0, rows)


def attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """Softmax attention.

    Args:
        q: (lines, heads, width, head_dim).
        k, v: (lines, heads, longest, head_dim).
        allowed: (lines, width, longest) what each query may look at.
    """
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed[:, None])
    # On a CPU plain products are up to twice as fast as the fused kernel when heads are this small.
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return torch.softmax(scores.masked_fill(~allowed[:, None], -torch.inf), dim=-1) @ v
