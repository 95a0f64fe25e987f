"""Training runs of a few steps, for the tests of training and of what it publishes."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.settings.schema import Optimization
from worldwidth.training.loop import train
from worldwidth.training.mixture import Mixture
from worldwidth.training.run import Run, Training

Model = tuple[DecoderConfig, Weights]

SETTINGS = Optimization(
    optimizer="adamw",
    learning_rate=5e-3,
    betas=(0.9, 0.999),
    epsilon=1e-8,
    weight_decay=0.01,
    max_grad_norm=1.0,
    warmup_steps=2,
    decay_fraction=1.0,
    batch_size=40,
    loss="answer",
    checkpoints=0,
    log_every=1,
)


def run_of(mixture: Mixture, validation: Mixture | None = None, epochs: int = 1, **changes: Any) -> Run:
    optimization = replace(SETTINGS, **changes)
    return Run(
        name="base",
        mixture=mixture,
        validation=validation or Mixture(mixture.tokens[:30], mixture.lengths[:30]),
        optimization=optimization,
        steps=epochs * math.ceil(len(mixture) / optimization.batch_size),
        seed=42,
    )


def some(mixture: Mixture, seed: int, count: int) -> Mixture:
    """``count`` of its lines."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(mixture))[:count])
    return Mixture(mixture.tokens[rows], mixture.lengths[rows])


def no_checkpoint(step: int) -> None:
    """Nothing is saved."""


def training_of(model: Model, run: Run) -> Training:
    """The run at its start, with a copy of the weights."""
    config, weights = model
    return Training(config, weights.copy(), run, no_checkpoint)


def trained_by(model: Model, run: Run) -> Training:
    """The run after all its steps."""
    training = training_of(model, run)
    train(training)
    return training
