"""Equal models as one: every weight gets a leading axis, and one large operation does the work of many small ones.

Small models leave a GPU waiting for the host. Here their weights of one kind lie in one tensor
(models, ...), of which each model's own weight is a view: the forward and backward pass run over all
models at once (torch.func.vmap), while every model keeps its optimiser, its gradient norm and its rate.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from worldwidth.model.decoder import Decoder
from worldwidth.model.packing import Batch


class Stack:
    """Models of one shape whose weights share storage. Each model stays usable by itself."""

    def __init__(self, models: list[Decoder], loss: Callable[[Decoder, Batch], Tensor]) -> None:
        self._template, self._loss = models[0], loss
        self.weights: dict[str, Tensor] = {}
        each = [dict(model.named_parameters()) for model in models]
        for name in each[0]:
            stacked = torch.stack([parameters[name].detach() for parameters in each])
            for parameters, part in zip(each, stacked, strict=True):
                parameters[name].data = part
            self.weights[name] = stacked.requires_grad_()
        self._each = each

    def losses(self, batches: list[Batch]) -> Tensor:
        """The loss of every model on its own batch, (models,); the batches must have one shape."""
        inputs = [torch.stack(parts) for parts in zip(*map(_tensors, batches), strict=True)]
        loss = _Loss(self._template, self._loss, batches[0].longest)

        def one(weights: dict[str, Tensor], *tensors: Tensor) -> Tensor:
            found: Tensor = torch.func.functional_call(loss, weights, tensors)
            return found

        weights = {f"model.{name}": weight for name, weight in self.weights.items()}
        found: Tensor = torch.func.vmap(one)(weights, *inputs)
        return found

    def backward(self, losses: Tensor) -> None:
        """Give every model the gradient of its own loss."""
        for weight in self.weights.values():
            weight.grad = None
        losses.sum().backward()  # type: ignore[no-untyped-call]  # no weight is in two of the losses
        for index, parameters in enumerate(self._each):
            for name, parameter in parameters.items():
                gradients = self.weights[name].grad
                assert gradients is not None
                parameter.grad = gradients[index]


class _Loss(nn.Module):
    """The loss as one module, whose weights functional_call can replace."""

    def __init__(self, model: Decoder, loss: Callable[[Decoder, Batch], Tensor], longest: int) -> None:
        super().__init__()
        self.model, self._loss, self._longest = model, loss, longest

    def forward(self, ids: Tensor, lengths: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
        return self._loss(self.model, Batch(ids, lengths, sources, targets, self._longest))


def _tensors(batch: Batch) -> tuple[Tensor, ...]:
    return (batch.ids, batch.lengths, batch.sources, batch.targets)
