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
from worldwidth.model.generate import greedy_answers
from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.model.packing import Tree, in_order, pack, split
from worldwidth.model.parametrization import initial_weights
from worldwidth.native.compute import Compute
from worldwidth.native.decoders import decoder_of
from worldwidth.settings.schema import Optimization, Sizes
from worldwidth.training.cpu_engine import CpuEngine
from worldwidth.training.engines import Engine
from worldwidth.training.loop import train_together
from worldwidth.training.mixture import Mixture, Rows, pretraining_mixture
from worldwidth.training.native_step import NativeStep
from worldwidth.training.resume import Saving
from worldwidth.training.run import Run, Training
from worldwidth.training.torch_step import TorchStep

NATIVE, TORCH = Compute("cpu", "native", 1), Compute("cpu", "torch", 1)


def new_model(study: Study, sizes: Sizes) -> tuple[DecoderConfig, Weights]:
    """A model as pre-training begins with it."""
    config = DecoderConfig.of(study.scale, sizes)
    return config, initial_weights(config, study.seed)


def save_weights(study: Study, config: DecoderConfig, weights: Weights, folder: Path) -> None:
    """Write a model and its tokenizer in transformers' format."""
    save_model(config, weights, folder, study.vocabulary.save)


def save_new_model(study: Study, sizes: Sizes, folder: Path) -> None:
    """Write a model as pre-training begins with it."""
    save_weights(study, *new_model(study, sizes), folder)


def save_trained_model(
    study: Study, sizes: Sizes, lines: Lines, optimization: Optimization, steps: int, folder: Path
) -> None:
    """Pre-train for ``steps`` steps and write the model: enough for answers of the right form."""
    count = steps * optimization.batch_size
    mixture = Mixture.of([Lines(lines.tokens[:count], lines.lengths[:count])])
    training = _training(*new_model(study, sizes), _run(mixture, optimization, study.seed, NATIVE))
    _train(training)
    save_weights(study, training.config, training.weights, folder)


def shuffled_lines(corpora: dict[str, StoredCorpus], seed: int) -> Lines:
    """The pre-training mixture in one random order."""
    mixture = pretraining_mixture(corpora)
    order = stream(seed, "benchmark").permutation(len(mixture))
    return Lines(mixture.tokens[order], mixture.lengths[order])


@dataclass(frozen=True)
class _InOrder(Mixture):
    """Gives its lines batch by batch in the order in which they stood."""

    places: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    """Where each line lies in lexicographic order."""

    @classmethod
    def of_lines(cls, lines: Lines) -> "_InOrder":
        mixture, order = Mixture.of([lines]), in_order(lines.tokens)
        return cls(mixture.tokens, mixture.lengths, places=np.argsort(order))

    def epoch(self, seed: int, name: str, epoch: int, batch_size: int) -> Iterator[Rows]:
        """Rows of every batch."""
        for start in range(0, len(self), batch_size):
            yield np.sort(self.places[start : start + batch_size])


class _Clock(Saving):
    """Saves nothing, and notes when the first step begins and when each has ended."""

    def __init__(self) -> None:
        super().__init__({}, math.inf)
        self.times: list[float] = []

    def check_restored(self, trainings: list[Training], engine: Engine) -> None:
        """The steps begin."""
        self.times.append(time.perf_counter())

    def after_step(self, trainings: list[Training], engine: Engine) -> None:
        """A step has ended."""
        self.times.append(time.perf_counter())


def train_steps(folder: Path, lines: Lines, optimization: Optimization, compute: Compute) -> Steps:
    """Train the model in ``folder`` once through ``lines``, in their order."""
    mixture = _InOrder.of_lines(lines)
    run = _run(mixture, replace(optimization, log_every=1), 0, compute)
    training = _training(*load_model(folder, "this cannot be"), run)
    clock = _Clock()
    _train(training, clock)
    return Steps(clock.times, [point.loss for point in training.curve])


def pretraining_step(study: Study, sizes: Sizes, corpora: dict[str, StoredCorpus], compute: Compute) -> CpuEngine:
    """What takes the steps of a pre-training run, as `dvc repro base` does."""
    training = pretraining(study, sizes, corpora, compute)
    arithmetic = NativeStep(training) if compute.engine == "native" else TorchStep(training)
    return CpuEngine(training, arithmetic)


def pretraining(study: Study, sizes: Sizes, corpora: dict[str, StoredCorpus], compute: Compute) -> Training:
    """A pre-training run at its start."""
    run = _run(pretraining_mixture(corpora), study.scale.pretraining, study.seed, compute)
    return _training(*new_model(study, sizes), replace(run, steps=10**6))


def pretraining_of(study: Study, sizes: Sizes, lines: Lines, optimization: Optimization) -> Training:
    """A run on ``lines`` at its start."""
    return _training(*new_model(study, sizes), _run(Mixture.of([lines]), optimization, study.seed, NATIVE))


def packed(training: Training, rows: Rows) -> list[Tree]:
    """A batch of a run, in its parts."""
    mixture, loss = training.run.mixture, training.run.optimization.loss
    return [pack(mixture.tokens[part], mixture.lengths[part], loss) for part in split(rows)]


def _run(mixture: Mixture, optimization: Optimization, seed: int, compute: Compute) -> Run:
    """One pass through ``mixture`` on the CPU; its validation costs next to nothing."""
    return Run(
        name="base",
        mixture=mixture,
        validation=Mixture(mixture.tokens[:1], mixture.lengths[:1]),
        optimization=replace(optimization, checkpoints=0),
        steps=math.ceil(len(mixture) / optimization.batch_size),
        seed=seed,
        compute=compute,
    )


def _training(config: DecoderConfig, weights: Weights, run: Run) -> Training:
    return Training(config, weights, run, lambda step: None)


def _train(training: Training, saving: Saving | None = None) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        list(train_together([training], saving))
    if training.error:
        raise training.error


def evaluator(folder: Path, corpora: dict[str, StoredCorpus], study: Study, compute: Compute) -> Callable[[], object]:
    """Load the model in ``folder`` and return a call that runs all its evaluations."""
    decode = decoder_of(*load_model(folder, "this cannot be"), compute)
    return partial(evaluate, decode, corpora, study.scale)


def answers(folder: Path, lines: Lines, max_new_tokens: int, study: Study) -> list[str]:
    """The model's answers to ``lines`` as text."""
    decode = decoder_of(*load_model(folder, "this cannot be"), NATIVE)
    given = greedy_answers(decode, lines, max_new_tokens, study.scale.evaluation.batch_size)
    return [study.vocabulary.decode(ids) for ids in given.tolist()]


def multitask_rows(study: Study, counts: list[int]) -> NDArray[np.int64]:
    """Which lines of the pooled ordinary test sets, ``counts`` lines each, the multi-task evaluation takes."""
    rng = stream(study.scale.world.seed, "multitask")
    return rng.permutation(sum(counts))[: study.scale.evaluation.multitask_lines]
