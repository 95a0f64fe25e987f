"""Greedy decoding in torch: prompts as a prefix tree, then a key-value cache, and lines dropped when they end."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from worldwidth.data.tokenizer import EOS, PAD
from worldwidth.model.decoder import Decoder, TreeAttention, attention
from worldwidth.model.generate import Decode
from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.model.packing import Ints, Tree
from worldwidth.model.tree_tensors import tensors_of


def torch_decoder(config: DecoderConfig, weights: Weights, device: str, threads: int) -> Decode:
    """What decodes prompts with ``weights`` (n,) on ``device``, in float32."""
    torch.set_num_threads(threads)
    model = Decoder(config, torch.from_numpy(weights)[None].to(device))
    return partial(decode, model)


@torch.inference_mode()
def decode(model: Decoder, prompts: Tree, width: int) -> Ints:
    """Continue the lines of ``prompts`` (packed for the ``next`` token) with the one model in ``model``.

    Returns:
        (lines, width) ids: <eos> where the model ended a line, <pad> behind.
    """
    device, lines = model.embed.device, len(prompts.lengths)
    trees = tensors_of(prompts, model.config.vocab_size, device)
    cache = Cache(model, torch.from_numpy(prompts.lengths).to(device).long(), trees.nodes, width)
    of_tree = TreeAttention(trees, len(model.layers))

    def remember(layer: int, q: Tensor, kv: Tensor) -> Tensor:
        cache.put_nodes(layer, kv)
        return of_tree(layer, q, kv)

    hidden = model.hidden(trees.ids, trees.positions, remember, trees.queries)[:, trees.sources[0]]
    answers = torch.full((lines, width), PAD, device=device)
    alive = torch.arange(lines, device=device)
    for new in range(width):
        chosen = model.logits(hidden)[0].argmax(dim=-1)
        answers[alive, new] = chosen
        going_on = (chosen != EOS).nonzero().squeeze(1)
        if not len(going_on) or new == width - 1:
            break
        if len(going_on) < len(alive):
            cache.keep(going_on)
            alive, chosen = alive[going_on], chosen[going_on]
        hidden = model.hidden(chosen[None], cache.lengths[None], cache)
        cache.lengths += 1
    return answers.cpu().numpy().astype(np.int32)


class Cache:
    """Keys and values of lines under way; as an attention, that of one new token of each line."""

    def __init__(self, model: Decoder, lengths: Tensor, nodes: Tensor, width: int) -> None:
        """``lengths`` (lines,) tokens so far; ``nodes`` (lines, longest) of their tree; room for ``width`` more."""
        self.lengths, self._nodes, self._width = lengths, nodes, width
        self._kv: list[Tensor] = []  # of each layer (lines, longest + width, 2, heads, head_dim)

    def put_nodes(self, layer: int, kv: Tensor) -> None:
        """Take the keys and values (1, N, 2, heads, head_dim) of the tree's nodes."""
        lines, longest = self._nodes.shape
        room = kv.new_zeros(lines, longest + self._width, *kv.shape[2:])
        room[:, :longest] = (
            kv[0].index_select(0, self._nodes.clamp(max=kv.shape[1] - 1).flatten()).view(lines, longest, *kv.shape[2:])
        )
        self._kv.append(room)

    def keep(self, rows: Tensor) -> None:
        """Go on with these lines only."""
        self.lengths = self.lengths[rows]
        self._kv = [kv[rows] for kv in self._kv]

    def __call__(self, layer: int, q: Tensor, kv: Tensor) -> Tensor:
        """See :data:`worldwidth.model.decoder.Attend`."""
        cached = self._kv[layer]
        lines = len(cached)
        cached[torch.arange(lines, device=q.device), self.lengths] = kv[0]
        k, v = cached.permute(2, 0, 3, 1, 4)
        allowed = torch.arange(cached.shape[1], device=q.device) <= self.lengths[:, None]
        mixed = attention(q[0].transpose(1, 2), k, v, allowed[:, None])
        return mixed.reshape(1, lines, -1)
