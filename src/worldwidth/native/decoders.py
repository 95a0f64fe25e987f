"""Greedy decoding of one model with whatever computes it."""

from worldwidth.model.generate import Decode
from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.native.compute import Compute


def decoder_of(config: DecoderConfig, weights: Weights, compute: Compute) -> Decode:
    """What decodes prompts with ``weights`` (n,); imports torch only where it computes with it."""
    if compute.engine == "native":
        from worldwidth.native.decode import native_decoder

        return native_decoder(config, weights)
    from worldwidth.model.decoding import torch_decoder

    return torch_decoder(config, weights, compute.device, compute.threads)
