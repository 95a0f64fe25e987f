"""All that the benchmarks ask of this project's models, training and decoding; nothing else here imports those."""

import contextlib
import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from steps import Steps
from study import Study
from worldwidth.data.corpus import Lines, StoredCorpus
from worldwidth.data.random_streams import stream, torch_seed
from worldwidth.evaluation.evaluate import evaluate
from worldwidth.model.checkpoint import load_model, save_model
from worldwidth.model.decoder import Decoder, DecoderConfig
from worldwidth.model.generate import greedy_answers
from worldwidth.settings.schema import Arch, Optimization
from worldwidth.training.loop import train
from worldwidth.training.mixture import Mixture, pretraining_mixture
from worldwidth.training.run import CurvePoint, Run, Training
from worldwidth.training.step import plain_step


def new_model(study: Study, arch: Arch) -> Decoder:
    """A model as pre-training begins with it."""
    model = Decoder(DecoderConfig.of(study.scale, arch))
    model.initialize(torch.Generator().manual_seed(torch_seed(study.seed, "initialization")))
    return model


def save_new_model(study: Study, arch: Arch, folder: Path) -> None:
    """Write such a model and its tokenizer in transformers' format."""
    save_model(new_model(study, arch), folder, study.vocabulary.save)


def save_trained_model(
    study: Study, arch: Arch, lines: Lines, optimization: Optimization, steps: int, folder: Path
) -> None:
    """Pre-train for ``steps`` steps and write the model: enough for answers of the right form."""
    count = steps * optimization.batch_size
    model = new_model(study, arch)
    _train(model, _run(Mixture(lines.tokens[:count], lines.lengths[:count]), optimization, study.seed))
    save_model(model, folder, study.vocabulary.save)


def shuffled_lines(corpora: dict[str, StoredCorpus], seed: int) -> Lines:
    """The pre-training mixture in one random order."""
    mixture = pretraining_mixture(corpora)
    order = stream(seed, "benchmark").permutation(len(mixture))
    return Lines(mixture.tokens[order], mixture.lengths[order])


@dataclass(frozen=True)
class _InOrder(Mixture):
    """Gives its lines in the order in which they stand, and notes when each batch is asked for."""

    asked: list[float] = field(default_factory=list)

    def epoch(self, seed: int, name: str, epoch: int, batch_size: int) -> Iterator[NDArray[Any]]:
        """Rows of every batch. The loop comes back for the next batch when a step is done."""
        for start in range(0, len(self), batch_size):
            self.asked.append(time.perf_counter())
            yield np.arange(start, min(start + batch_size, len(self)))


def train_steps(folder: Path, lines: Lines, optimization: Optimization, threads: int) -> Steps:
    """Train the model in ``folder`` once through ``lines``, in their order."""
    mixture = _InOrder(lines.tokens, lines.lengths)
    model = load_model(folder, "this cannot be")
    curve = _train(model, _run(mixture, replace(optimization, log_every=1), seed=0, threads=threads))
    return Steps([*mixture.asked, time.perf_counter()], [point.loss for point in curve])


def pretraining_step(study: Study, arch: Arch, corpora: dict[str, StoredCorpus], threads: int) -> Callable[[], None]:
    """A call that takes the next step of a pre-training run, as `dvc repro base` does."""
    run = _run(pretraining_mixture(corpora), replace(study.scale.pretraining, log_every=10**9), study.seed, threads)
    training = Training(new_model(study, arch), replace(run, steps=10**6), lambda step: None)
    take = plain_step(training)

    def step() -> None:
        rows = training.begin_step()
        training.end_step(take([rows])[0], tokens=0)

    return step


def _run(mixture: Mixture, optimization: Optimization, seed: int, threads: int = 1) -> Run:
    """One pass through ``mixture`` on the CPU; its validation costs next to nothing."""
    return Run(
        name="base",
        mixture=mixture,
        validation=Mixture(mixture.tokens[:1], mixture.lengths[:1]),
        optimization=replace(optimization, checkpoints=0),
        steps=math.ceil(len(mixture) / optimization.batch_size),
        seed=seed,
        device=torch.device("cpu"),
        threads=threads,
    )


def _train(model: Decoder, run: Run) -> list[CurvePoint]:
    with contextlib.redirect_stdout(io.StringIO()):
        return train(model, run, lambda step: None)


def evaluator(folder: Path, corpora: dict[str, StoredCorpus], study: Study) -> Callable[[], object]:
    """Load the model in ``folder`` and return a call that runs all its evaluations."""
    return partial(evaluate, load_model(folder, "this cannot be"), corpora, study.scale)


def answers(folder: Path, lines: Lines, max_new_tokens: int, study: Study) -> list[str]:
    """The model's answers to ``lines`` as text."""
    model = load_model(folder, "this cannot be")
    given = greedy_answers(model, lines, max_new_tokens, study.scale.evaluation.batch_size)
    return [study.vocabulary.decode(ids) for ids in given.tolist()]


def multitask_rows(study: Study, counts: list[int]) -> NDArray[np.int64]:
    """Which lines of the pooled ordinary test sets, ``counts`` lines each, the multi-task evaluation takes."""
    rng = stream(study.scale.world.seed, "multitask")
    return rng.permutation(sum(counts))[: study.scale.evaluation.multitask_lines]
