"""All that the benchmarks ask of this project's models, training and decoding; nothing else here imports those."""

import contextlib
import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steps import Steps
from study import Study
from worldwidth.data.corpus import Lines, StoredCorpus
from worldwidth.data.random_streams import stream
from worldwidth.evaluation.evaluate import evaluate
from worldwidth.model.checkpoint import load_model, save_model
from worldwidth.model.generate import Decode, greedy_answers
from worldwidth.model.layout import DecoderConfig, Weights, initial_weights
from worldwidth.model.packing import in_order
from worldwidth.native.compute import Compute, compute_of
from worldwidth.native.decoders import decoder_of
from worldwidth.settings.schema import Arch, Hardware, Optimization
from worldwidth.training.engines import engine_of
from worldwidth.training.loop import train
from worldwidth.training.mixture import Mixture, pretraining_mixture
from worldwidth.training.run import CurvePoint, Run, Training

_CPU = Hardware(device="cpu", precision="auto", threads=1, pretraining_threads=1)


def new_model(study: Study, arch: Arch) -> tuple[DecoderConfig, Weights]:
    """A model as pre-training begins with it."""
    config = DecoderConfig.of(study.scale, arch)
    return config, initial_weights(config, study.seed)


def save_new_model(study: Study, arch: Arch, folder: Path) -> None:
    """Write such a model and its tokenizer in transformers' format."""
    save_model(*new_model(study, arch), folder, study.vocabulary.save)


def save_trained_model(
    study: Study, arch: Arch, lines: Lines, optimization: Optimization, steps: int, folder: Path
) -> None:
    """Pre-train for ``steps`` steps and write the model: enough for answers of the right form."""
    count = steps * optimization.batch_size
    config, weights = new_model(study, arch)
    mixture = Mixture.of([Lines(lines.tokens[:count], lines.lengths[:count])])
    _train(config, weights, _run(mixture, optimization, study.seed, compute_of(_CPU, 1)))
    save_model(config, weights, folder, study.vocabulary.save)


def shuffled_lines(corpora: dict[str, StoredCorpus], seed: int) -> Lines:
    """The pre-training mixture in one random order."""
    mixture = pretraining_mixture(corpora)
    order = stream(seed, "benchmark").permutation(len(mixture))
    return Lines(mixture.tokens[order], mixture.lengths[order])


@dataclass(frozen=True)
class _AsGiven(Mixture):
    """Batches of lines in the order in which they were given; notes when each is asked for."""

    places: NDArray[np.int64]
    """(n,) where each line, as given, stands in the mixture."""
    asked: list[float] = field(default_factory=list)

    @classmethod
    def of_lines(cls, lines: Lines) -> "_AsGiven":
        order = in_order(lines.tokens)
        return cls(lines.tokens[order], lines.lengths[order], np.argsort(order))

    def epoch(self, seed: int, name: str, epoch: int, batch_size: int) -> Iterator[NDArray[np.int64]]:
        """Rows of every batch. The loop comes back for the next batch when a step is done."""
        for start in range(0, len(self), batch_size):
            self.asked.append(time.perf_counter())
            yield np.sort(self.places[start : start + batch_size])


def train_steps(folder: Path, lines: Lines, optimization: Optimization, threads: int) -> Steps:
    """Train the model in ``folder`` once through ``lines``, in batches in their order."""
    mixture = _AsGiven.of_lines(lines)
    run = _run(mixture, replace(optimization, log_every=1), 0, compute_of(_CPU, threads))
    curve = _train(*load_model(folder, "this cannot be"), run)
    return Steps([*mixture.asked, time.perf_counter()], [point.loss for point in curve])


def pretraining_step(study: Study, arch: Arch, corpora: dict[str, StoredCorpus], threads: int) -> Callable[[], object]:
    """A call that takes the next step of a pre-training run in torch, as `dvc repro base` does."""
    mixture, optimization = pretraining_mixture(corpora), replace(study.scale.pretraining, log_every=10**9)
    run = replace(_run(mixture, optimization, study.seed, Compute("cpu", "torch", threads)), steps=10**6)
    return engine_of([Training(*new_model(study, arch), run, lambda step: None)]).step


def _run(mixture: Mixture, optimization: Optimization, seed: int, compute: Compute) -> Run:
    """One pass through ``mixture``; its validation costs next to nothing."""
    return Run(
        name="base",
        mixture=mixture,
        validation=Mixture(mixture.tokens[:1], mixture.lengths[:1]),
        optimization=replace(optimization, checkpoints=0),
        steps=math.ceil(len(mixture) / optimization.batch_size),
        seed=seed,
        compute=compute,
    )


def _train(config: DecoderConfig, weights: Weights, run: Run) -> list[CurvePoint]:
    with contextlib.redirect_stdout(io.StringIO()):
        return train(Training(config, weights, run, lambda step: None))


def evaluator(folder: Path, corpora: dict[str, StoredCorpus], study: Study) -> Callable[[], object]:
    """Load the model in ``folder`` and return a call that runs all its evaluations."""
    return partial(evaluate, _decoder(folder), corpora, study.scale)


def answers(folder: Path, lines: Lines, max_new_tokens: int, study: Study) -> list[str]:
    """The model's answers to ``lines`` as text."""
    given = greedy_answers(_decoder(folder), lines, max_new_tokens, study.scale.evaluation.batch_size)
    return [study.vocabulary.decode(ids) for ids in given.tolist()]


def _decoder(folder: Path) -> Decode:
    return decoder_of(*load_model(folder, "this cannot be"), compute_of(_CPU, 1))


def multitask_rows(study: Study, counts: list[int]) -> NDArray[np.int64]:
    """Which lines of the pooled ordinary test sets, ``counts`` lines each, the multi-task evaluation takes."""
    rng = stream(study.scale.world.seed, "multitask")
    return rng.permutation(sum(counts))[: study.scale.evaluation.multitask_lines]
