"""The optimiser and the learning-rate schedule that the settings name."""

import torch
from torch import nn

from worldwidth.settings.schema import Optimization


def build_optimizers(model: nn.Module, optimization: Optimization) -> list[torch.optim.Optimizer]:
    """Return the optimisers of all weights; weight decay spares biases and norms.

    ``muon`` gives the layers' matrices to Muon (Jordan 2024; torch's own) and the rest, embeddings
    and output head included, to AdamW. On a GPU the learning rate is a tensor there, so that a recorded
    step reads it anew at every replay.
    """
    on_gpu = next(model.parameters()).device.type == "cuda"
    rate = torch.tensor(optimization.learning_rate, device="cuda") if on_gpu else optimization.learning_rate
    groups: dict[str, list[nn.Parameter]] = {"muon": [], "decay": [], "plain": []}
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2
        if is_matrix and name.startswith("layers.") and optimization.optimizer == "muon":
            groups["muon"].append(parameter)
        else:
            groups["decay" if is_matrix else "plain"].append(parameter)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [
                {"params": groups["decay"], "weight_decay": optimization.weight_decay},
                {"params": groups["plain"], "weight_decay": 0.0},
            ],
            lr=rate,
            betas=optimization.betas,
            eps=optimization.epsilon,
            fused=True,
            capturable=on_gpu,
        )
    ]
    if groups["muon"]:
        optimizers.append(
            torch.optim.Muon(groups["muon"], lr=optimization.learning_rate, weight_decay=optimization.weight_decay)
        )
    return optimizers


def learning_rate(step: int, steps: int, optimization: Optimization) -> float:
    """Rate of optimiser step ``step`` (from 0) of ``steps``.

    Linear from 0 over ``warmup_steps``, as transformers counts them (the first step has rate 0), then
    constant, then linear to 0 over the last ``decay_fraction`` of what follows the warm-up. A fraction of
    1 is transformers' linear schedule, a smaller one warm-up-stable-decay.
    """
    if step < optimization.warmup_steps:
        return optimization.learning_rate * step / optimization.warmup_steps
    decay_steps = optimization.decay_fraction * (steps - optimization.warmup_steps)
    return optimization.learning_rate * min(1.0, (steps - step) / decay_steps)


def set_learning_rate(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """Give every parameter group the rate ``rate``."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
