"""A run's steps on a CPU in torch: the reference for the native ones, and what computes where those cannot be had."""

import torch
from torch import Tensor

from worldwidth.model.decoder import Decoder
from worldwidth.model.packing import Tree
from worldwidth.model.tree_tensors import tensors_of
from worldwidth.native.optimizer import Spread
from worldwidth.training.run import Training
from worldwidth.training.torch_update import FlatState, decoder_of, step_factors, update


class TorchStep:
    """See :class:`worldwidth.training.cpu_engine.Step`."""

    def __init__(self, training: Training) -> None:
        torch.set_num_threads(1)  # torch's own threads would meet in every operation; ours share the parts
        self._config, self._optimization, self._groups = training.config, training.run.optimization, training.groups
        self._embedding_alone = training.embedding_alone
        arrays = (training.weights, training.first, training.second)
        self._state = FlatState(*(torch.from_numpy(array)[None] for array in arrays))  # in the same memory
        self._bfloat16 = training.run.compute.bfloat16
        self._gradients: dict[int, Tensor] = {}

    def gradient(self, part: int, tree: Tree, scale: float) -> float:
        """See :class:`worldwidth.training.cpu_engine.Step`."""
        model, moving = decoder_of(self._config, self._state.weights, self._embedding_alone)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            loss = scale * self._loss(model, tree)
        (self._gradients[part],) = torch.autograd.grad(loss, moving)
        return float(loss.detach())

    def update(self, parts: int, step: int, rate: float, spread: Spread) -> float:
        """See :class:`worldwidth.training.cpu_engine.Step`."""
        gradient = self._gradients[0]
        for part in range(1, parts):
            gradient += self._gradients[part]
        factors = torch.tensor([step_factors(step, rate, self._optimization)])
        return float(update(self._state, gradient, factors, self._groups, self._optimization))

    @torch.no_grad()
    def loss(self, tree: Tree) -> float:
        """See :class:`worldwidth.training.cpu_engine.Step`."""
        return float(self._loss(Decoder(self._config, self._state.weights), tree))

    def _loss(self, model: Decoder, tree: Tree) -> Tensor:
        return model.losses(tensors_of(tree, self._config.vocab_size))[0]
