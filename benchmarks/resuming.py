"""What it costs to be able to go on after a kill: time and disk of the saved states, and training with and without."""

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import ours
from study import Study, load_study
from timing import HEADINGS, Comparison, Options, number, print_table, take_turns
from worldwidth.compute import vocabulary_size
from worldwidth.mixture import Mixture
from worldwidth.resume import STATE, SavedRun, Saving, identity
from worldwidth.training import Run, Training, train_together

_SIZES = (("laptop", "narrow"), ("laptop", "wide"), ("laptop", "wider"), ("paper", "wide"), ("paper", "wider"))
_LONGEST = {"laptop": 24, "paper": 57}  # tokens of the longest line
_STEPS = 300  # a turn of training
NEVER = "never saved"


def run(options: Options) -> dict[str, Any]:
    """Per size the megabytes and milliseconds of a state; and the seconds of a training that saves more and less."""
    rounds = options.turns(default=5, quick=2)
    report: dict[str, Any] = {"states": {}}
    with _scratch():
        for scale, arch in _SIZES:
            report["states"][f"{scale} {arch}"] = _state(load_study(scale), scale, arch, rounds)
        headings = ["", "MB", "save, ms", "read, ms", "hash the run, ms", "seconds between two", "% of the time"]
        rows = [[name, *map(number, entry.values())] for name, entry in report["states"].items()]
        print_table(f"Saved states, medians of {rounds}", headings, rows)
        study = load_study("laptop")
        variants = {
            NEVER: _training(study, seconds=1e9),
            f"every {study.scale.execution.resume_seconds:g} s": _training(study, study.scale.execution.resume_seconds),
            "every second": _training(study, seconds=1.0),
        }
        found = Comparison(take_turns(variants, rounds, warm_up=True), reference=NEVER, less_is_better=True)
    title = f"laptop wide, seconds for {_STEPS} steps, rounds: {rounds}"
    print_table(title, ["", *HEADINGS], found.rows())
    return {**report, "training": found.statistics()}


def _state(study: Study, scale: str, arch: str, rounds: int) -> dict[str, float]:
    """The state of a run of this size, after a step."""
    training = _begun(study, arch, _random_lines(study, scale))
    between = study.scale.execution.resume_seconds
    saves: list[float] = []
    reads: list[float] = []
    hashes: list[float] = []
    for _ in range(rounds):
        hashes.append(_seconds(lambda: identity(training.model, training.run)))
        with SavedRun(training.model, training.run) as saved:
            saves.append(_seconds(lambda saved=saved: saved.save(training, 0.0)))  # type: ignore[misc]
            with redirect_stdout(io.StringIO()):  # it says where it goes on
                reads.append(_seconds(saved.load))
            size = (saved.folder / STATE).stat().st_size
            saved.remove()
    between = max(between, 100 * median(saves))
    return {
        "megabytes": size / 1e6,
        "save": 1e3 * median(saves),
        "read": 1e3 * median(reads),
        "hash": 1e3 * median(hashes),
        "between": between,
        "percent": 100 * median(saves) / between,
    }


def _training(study: Study, seconds: float) -> Callable[[], float]:
    """A call that trains for some steps and says how long it took."""
    lines = _random_lines(study, "laptop")

    def train() -> float:
        training = _begun(study, "wide", lines)
        with SavedRun(training.model, training.run) as saved:
            saving = Saving({training.run.name: saved}, seconds)
            found = _seconds(lambda: list(train_together([training], saving)))
            saved.remove()
        return found

    return train


def _begun(study: Study, arch: str, lines: Mixture) -> Training:
    """A run after its first step, when the optimisers have what they remember."""
    run = Run(
        name="base",
        mixture=lines,
        validation=Mixture(lines.tokens[:16], lines.lengths[:16]),
        settings=replace(study.scale.pretraining, checkpoints=0, log_every=10**9, loss="all"),
        steps=_STEPS + 1,
        seed=study.seed,
        device=torch.device("cpu"),
        threads=study.scale.hardware.pretraining_threads,
    )
    training = Training(ours.new_model(study, study.scale.archs[arch]), run, lambda step: None)
    torch.set_num_threads(1)
    rows = training.begin_step()
    batch = run.mixture.batch(rows[:8], run.settings.loss, run.device)
    training.loss(training.model, batch).backward()  # type: ignore[no-untyped-call]
    training.update()
    training.end_step(torch.tensor(1.0), tokens=1)
    return training


def _random_lines(study: Study, scale: str) -> Mixture:
    """As many lines as the scale pre-trains on, of tokens of chance."""
    count = len(study.tasks) * study.scale.corpus.world.train
    rng = np.random.default_rng(0)
    kind = np.min_scalar_type(vocabulary_size(study.scale) - 1)
    tokens = rng.integers(4, min(255, vocabulary_size(study.scale)), (count, _LONGEST[scale]), dtype=np.uint8)
    return Mixture(tokens.astype(kind), np.full(count, _LONGEST[scale] - 4, dtype=np.uint8))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@contextmanager
def _scratch() -> Iterator[None]:
    """A scratch folder on the project's own disk, for a temporary one may be memory."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix=".resuming-") as folder:
        os.environ["DVC_ROOT"] = folder
        try:
            yield
        finally:
            del os.environ["DVC_ROOT"]
