"""What needs a gradient, and from gradients to new weights, in torch: clipping, AdamW and Muon on flat weights of
several models at once.

Everything is plain arithmetic on whole slices in place, so that a GPU can record it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldwidth.model.decoder import Decoder
from worldwidth.model.layout import DecoderConfig, slices
from worldwidth.model.parametrization import Group
from worldwidth.settings.schema import Optimization

_MUON_MOMENTUM = 0.95
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


@dataclass(frozen=True)
class FlatState:
    """Weights (models, n) and what the optimisers remember of each; updated in place."""

    weights: Tensor
    first: Tensor
    """First moments of AdamW, momentum of Muon."""
    second: Tensor
    """Second moments of AdamW."""


def decoder_of(config: DecoderConfig, weights: Tensor, embedding_alone: bool) -> tuple[Decoder, Tensor]:
    """A decoder of flat weights (models, n), and those of them through which gradients flow, the first ones.

    With ``embedding_alone`` these are the embedding's: what other matrices need for their gradients is not computed.
    """
    fixed = weights.detach()
    if embedding_alone:
        moving = fixed[:, slices(config)["embed"]].requires_grad_()
        return Decoder(config, fixed, moving), moving
    moving = fixed.requires_grad_()
    return Decoder(config, moving), moving


@torch.no_grad()
def update(
    state: FlatState, gradients: Tensor, factors: Tensor, groups: list[Group], optimization: Optimization
) -> Tensor:
    """Take one optimiser step with the weights of ``groups``; the gradients of others do not count.

    Args:
        gradients: (models, n), or of the first weights up to the last that move; they are overwritten.
        factors: (models, 3) of :func:`step_factors`, on the device.
        groups: without a gap between one and the next.

    Returns:
        (models,) norms of the gradients before clipping, of the weights that move.
    """
    moving = gradients[:, groups[0].place.start : groups[-1].place.stop]
    norms: Tensor = moving.norm(dim=1, keepdim=True)
    moving *= (optimization.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
    for group in groups:
        own = FlatState(*(tensor[:, group.place] for tensor in (state.weights, state.first, state.second)))
        if group.matrix:
            _muon(own, gradients[:, group.place], group.matrix, factors[:, :1] * group.rate, group.weight_decay)
        else:
            _adamw(own, gradients[:, group.place], group, factors, optimization.betas)
    return norms[:, 0]


def step_factors(step: int, rate: float, optimization: Optimization) -> tuple[float, float, float]:
    """The learning rate and the corrections of both moments at optimiser step ``step``, from 0."""
    beta1, beta2 = optimization.betas
    return rate, 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)


def _adamw(state: FlatState, gradient: Tensor, group: Group, factors: Tensor, betas: tuple[float, float]) -> None:
    """AdamW (arXiv 1711.05101) on one slice of each model, (models, n) as its gradient."""
    (beta1, beta2), weights = betas, state.weights
    rate, correction1, correction2 = factors[:, 0:1] * group.rate, factors[:, 1:2], factors[:, 2:3]
    first = state.first.lerp_(gradient, 1 - beta1)
    second = state.second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    denominator = (second.sqrt() / correction2.sqrt()).add_(group.epsilon)
    if group.weight_decay:
        weights.mul_(1 - rate * group.weight_decay)
    weights.sub_(first / denominator * (rate / correction1))


def _muon(state: FlatState, gradient: Tensor, matrix: tuple[int, int], rate: Tensor, weight_decay: float) -> None:
    """Muon (Jordan 2024) with Nesterov momentum on all matrices of one shape in a slice of each model."""
    rows, columns = matrix
    weights, momentum = state.weights, state.first.lerp_(gradient, 1 - _MUON_MOMENTUM)
    direction = orthogonalized(gradient.lerp(momentum, _MUON_MOMENTUM).reshape(-1, rows, columns))
    weights.mul_(1 - rate * weight_decay)
    weights.sub_(direction.reshape(weights.shape) * (rate * max(1.0, rows / columns) ** 0.5))


def orthogonalized(matrices: Tensor) -> Tensor:
    """Nearly U V^T of every matrix U S V^T in (count, rows, columns), by five quintic Newton-Schulz iterations.

    In bfloat16 on a GPU, which is fast there and enough; on a CPU it would be slow.
    """
    a, b, c = _NEWTON_SCHULZ
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)
