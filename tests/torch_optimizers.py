"""Weights in torch's own optimisers, a group for each kind of them: what every way of updating is compared with."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import Parameter

from worldwidth.model.layout import MATRICES, VECTORS, DecoderConfig, Weights, shapes, slices
from worldwidth.model.parametrization import Group, groups
from worldwidth.settings.schema import Finetuning, Optimization

Trainable = Literal["all", "new_embeddings"]


@dataclass(frozen=True)
class Case:
    """Which weights move, and how fast."""

    trainable: Trainable = "all"
    body_ratio: float = 1.0
    m: float | None = None
    new_rows: int = 0

    def settings(self, optimization: Optimization) -> Optimization:
        values: dict[str, Any] = {field.name: getattr(optimization, field.name) for field in fields(Optimization)}
        values["body_ratio"] = self.body_ratio
        return Finetuning(**values, trainable=self.trainable, epochs=1, world_lines=0, atlantis_lines=1, warmup_lines=0)

    def groups(self, config: DecoderConfig, optimization: Optimization) -> list[Group]:
        return groups(config, self.settings(optimization), self.m, self.new_rows)


CASES = {
    "standard": Case(),
    "slow body": Case(body_ratio=0.1),
    "mup, wide": Case(m=4.0),
    "mup, narrow, slow body": Case(m=0.5, body_ratio=0.3),
    "embeddings": Case(body_ratio=0.0),
    "embeddings, mup": Case(body_ratio=0.0, m=2.0),
    "new rows": Case("new_embeddings", new_rows=96, body_ratio=0.1),
}


class TorchOptimizers:
    """The parts of some weights (n,) as parameters; those that stay as they are in no optimiser."""

    def __init__(self, config: DecoderConfig, weights: Weights, optimization: Optimization, case: Case) -> None:
        self._start, self._parts, self._muons = weights.copy(), dict[str, list[tuple[slice, Parameter]]](), list[Any]()
        self._rates, self._limit = list[float](), optimization.max_grad_norm
        self._body_ratio = case.body_ratio
        m, adamw = case.m or 1.0, list[dict[str, Any]]()
        for name, place in slices(config).items():
            muons = name in MATRICES and optimization.optimizer == "muon"
            parts = self._parameters(config, name, place, muons, case)
            self._parts[name] = parts
            group = {"params": [part for _, part in parts]}
            if not parts:
                continue
            if muons:
                self._muons += group["params"]
                continue
            rate, epsilon = {"lm_head": (1 / m, 1.0), **dict.fromkeys(MATRICES, (1 / m, 1 / m))}.get(name, (1, 1 / m))
            self._rates.append(1.0 if name == "embed" else rate * case.body_ratio)
            decay = 0.0 if name in VECTORS else optimization.weight_decay
            adamw.append({**group, "eps": epsilon * optimization.epsilon, "weight_decay": decay})
        self._adamw = torch.optim.AdamW(adamw, betas=optimization.betas)
        decay = optimization.weight_decay
        self._muon = torch.optim.Muon(self._muons, weight_decay=decay, momentum=0.95) if self._muons else None

    def _parameters(
        self, config: DecoderConfig, name: str, place: slice, muons: bool, case: Case
    ) -> list[tuple[slice, Parameter]]:
        """The slices of the weights ``name`` that move, each with its parameter: for Muon matrix by matrix."""
        shape: tuple[int, ...] = (place.stop - place.start,)
        if (case.trainable != "all" or case.body_ratio == 0) and name != "embed":
            return []
        if case.trainable == "new_embeddings":
            place = slice(place.stop - case.new_rows * config.hidden_size, place.stop)
            shape = (case.new_rows * config.hidden_size,)
        if muons:
            _, rows, columns = shapes(config)[name]
            shape = (rows // {"qkv": 3, "gate_up": 2}.get(name, 1) if case.m else rows, columns)
        size = int(np.prod(shape))
        places = [slice(start, start + size) for start in range(place.start, place.stop, size)]
        return [(each, Parameter(torch.from_numpy(self._start[each].reshape(shape).copy()))) for each in places]

    def step(self, gradient: Weights, rate: float) -> None:
        """Take a step of ``rate`` along ``gradient`` (n,), clipped."""
        everything = [found for parts in self._parts.values() for found in parts]
        for place, parameter in everything:
            parameter.grad = torch.from_numpy(gradient[place].reshape(parameter.shape).copy())
        torch.nn.utils.clip_grad_norm_([parameter for _, parameter in everything], self._limit)
        for group, factor in zip(self._adamw.param_groups, self._rates, strict=True):
            group["lr"] = factor * rate
        self._adamw.step()
        if self._muon:
            for group in self._muon.param_groups:
                group["lr"] = self._body_ratio * rate
            self._muon.step()  # type: ignore[no-untyped-call]

    def weights(self) -> Weights:
        """All weights (n,) as they are now."""
        now = self._start.copy()
        for parts in self._parts.values():
            for place, parameter in parts:
                now[place] = parameter.detach().numpy().ravel()
        return now


def kept(config: DecoderConfig, found: list[Group]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of the weights (n,) no group has."""
    stays = np.ones(slices(config)["norm"].stop, np.bool_)
    for group in found:
        stays[group.place] = False
    return stays
