"""The coordinate check: how far the first steps of training move what models of several widths compute.

Under a parametrization that suits, a step changes the activations by as much at every width (Yang et al. 2022, arXiv
2203.03466, appendix D.1): then one learning rate means the same for all of them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.data.cities import City
from worldwidth.data.make_corpus import generate
from worldwidth.model.decoder import Decoder
from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.model.packing import pack
from worldwidth.model.parametrization import initial_weights
from worldwidth.model.tree_tensors import Trees, tensors_of
from worldwidth.native.compute import Compute
from worldwidth.settings.compute import vocabulary_size, width_ratio
from worldwidth.settings.schema import Lines, Optimization, Parametrization, Settings
from worldwidth.training.engines import engine_of
from worldwidth.training.mixture import Mixture
from worldwidth.training.run import Run, Training

PARAMETRIZATIONS: tuple[Parametrization, ...] = ("standard", "mup")
STEPS, SEEDS = 10, 3
_LINES_A_TASK = 16  # that are looked at


@dataclass(frozen=True)
class Coordinate:
    """One number of one model after some steps, a mean over channels and tokens."""

    parametrization: str
    arch: str
    hidden_size: int
    seed: int
    step: int
    place: str
    """``embedding``, ``layer 1`` and so on, the residual stream behind each; ``logits``."""
    size: float
    """Mean absolute activation."""
    change: float
    """Mean absolute change since initialisation."""


def widths_of(settings: Settings, archs: list[str] | None) -> list[str]:
    """``archs``, or all with as many layers as the reference has, narrow to wide.

    Raises:
        WorldwidthError: one of them is unknown.
    """
    scale = settings.selected
    layers = {name: scale.sizes_of(arch).num_hidden_layers for name, arch in scale.archs.items()}
    for name in archs or ():
        if name not in layers:
            raise WorldwidthError(f"arch '{name}': allowed: {', '.join(layers)}{nearest(name, layers)}")
    chosen = archs or [name for name, own in layers.items() if own == layers[settings.reference]]
    return sorted(dict.fromkeys(chosen), key=lambda name: scale.archs[name].hidden_size)


def draw_mixtures(settings: Settings, cities: list[City]) -> tuple[Mixture, Mixture]:
    """As many training lines about ``cities`` as the steps read, drawn as the corpora are, and some to look at."""
    scale, optimization = settings.selected, _optimization(settings)
    train = math.ceil(STEPS * optimization.batch_size / len(settings.tasks))
    few = Lines(train=train, validation=_LINES_A_TASK, test=1)
    scale = replace(scale, corpus=replace(scale.corpus, world=few))
    drawn = [generate(scale, task, "world", cities) for task in settings.tasks]
    train_lines, seen = ([splits[split][1] for splits in drawn] for split in ("train", "validation"))
    return Mixture.of(train_lines), Mixture.of(seen)


def coordinates(
    settings: Settings, archs: list[str], mixture: Mixture, seen: Mixture, compute: Compute
) -> Iterator[list[Coordinate]]:
    """Train every arch under both parametrizations with several seeds; yield each run's numbers on ``seen``.

    All train as the reference does, at the full rate from the first step.
    """
    torch.set_num_threads(1)  # in models this small torch's own threads cost more than they give
    trees = tensors_of(pack(seen.tokens, seen.lengths, "all"), vocabulary_size(settings.selected))
    for parametrization in PARAMETRIZATIONS:
        for arch in archs:
            own = replace(settings, parametrization=parametrization, arch=arch)
            for seed in range(settings.seed, settings.seed + SEEDS):
                run = Run(
                    name="coordinates",
                    mixture=mixture,
                    validation=seen,
                    optimization=_optimization(settings),
                    steps=STEPS,
                    seed=seed,
                    compute=compute,
                    width_ratio=width_ratio(own),
                )
                config = DecoderConfig.of(own.selected, own.sizes)
                yield [
                    Coordinate(parametrization, arch, config.hidden_size, seed, step, place, size, change)
                    for step, place, size, change in _measured(config, run, trees)
                ]


def _optimization(settings: Settings) -> Optimization:
    return replace(settings.selected.pretraining_of(settings.reference), warmup_steps=0, decay_fraction=1 / STEPS)


def _measured(config: DecoderConfig, run: Run, trees: Trees) -> Iterator[tuple[int, str, float, float]]:
    """(step, place, size, change) before the first step and after each."""
    weights = initial_weights(config, run.seed, run.width_ratio)
    training = Training(config, weights, run, lambda step: None)
    engine, start = engine_of([training]), _activations(config, weights, trees)
    for step in range(run.steps + 1):
        if step:
            engine.step()
            engine.fetch_weights()
        for place, now in _activations(config, weights, trees).items():
            yield step, place, float(now.abs().mean()), float((now - start[place]).abs().mean())


@torch.no_grad()
def _activations(config: DecoderConfig, weights: Weights, trees: Trees) -> dict[str, Tensor]:
    return Decoder(config, torch.from_numpy(weights)[None].clone()).activations(trees)


def growth(widths: list[int], values: list[float]) -> float:
    """Exponent of the width with which ``values`` grow: the slope of a line through their logarithms."""
    return float(np.polyfit(np.log(widths), np.log(values), 1)[0])
