"""Greedy decoding of one model with whatever computes it."""

from worldwidth.model.generate import Decode
from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.model.packing import Ints, Tree
from worldwidth.native.compute import Compute
from worldwidth.native.step import Workspace, decode


def decoder_of(config: DecoderConfig, weights: Weights, compute: Compute) -> Decode:
    """What decodes prompts with ``weights`` (n,); imports torch only where it computes with it."""
    if compute.engine == "torch":
        from worldwidth.model.decoding import torch_decoder

        return torch_decoder(config, weights, compute.device, compute.threads)
    workspace = Workspace(config)

    def native(prompts: Tree, width: int) -> Ints:
        return decode(workspace, weights, prompts, width)

    return native
