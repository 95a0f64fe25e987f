"""The reference of all computing: transformers' own model with autograd, whole lines side by side, nothing shared."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from worldwidth.data.tokenizer import EQUALS
from worldwidth.model.checkpoint import load_model, save_model
from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.training.mixture import Mixture


def twin_of(config: DecoderConfig, weights: Weights, **options: Any) -> Any:
    """The same weights in transformers' model, through the files."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(config, weights, Path(folder), lambda folder: None)
        return AutoModelForCausalLM.from_pretrained(folder, **options)


def side_by_side(mixture: Mixture, rows: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Right-padded ids and attention mask, as transformers takes them: (lines, longest) each."""
    lengths = torch.from_numpy(mixture.lengths[rows].astype(np.int64))
    ids = torch.from_numpy(mixture.tokens[rows, : int(lengths.max())].astype(np.int64))
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()


def plain_loss(twin: Any, mixture: Mixture, rows: NDArray[Any], loss: str) -> Tensor:
    """The mean loss of a batch."""
    ids, mask = side_by_side(mixture, rows)
    counted = mask.bool()
    if loss == "answer":
        counted &= (ids == EQUALS).cumsum(dim=1) - (ids == EQUALS).long() > 0
    found: Tensor = twin(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(~counted, -100)).loss
    return found


def flat_gradient(twin: Any, config: DecoderConfig) -> Weights:
    """The gradient in ``twin`` in the order of the flat weights (n,), through the files as well."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(config, np.zeros(twin.num_parameters(), np.float32), folder, lambda folder: None)
        gradients = {name: parameter.grad.float() for name, parameter in twin.named_parameters()}
        save_file(gradients, folder / "model.safetensors", {"format": "pt"})
        return load_model(folder, "")[1]
