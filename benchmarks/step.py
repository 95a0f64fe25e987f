"""A pre-training step, laptop widths: torch and native, one thread and two, and where the native one's time goes."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import machine
import ours
from steps import tree_flops
from study import Study, load_study
from timing import HEADINGS, Comparison, Options, number, print_table, take_turns
from worldwidth.data.corpus import StoredCorpus
from worldwidth.training.native_step import NativeStep

_STEPS = 8  # a turn
_LINES_A_TASK = 2_000
TORCH, NATIVE, SHARED = "torch", "native", "native, two threads that share a batch"


def run(options: Options) -> dict[str, Any]:
    """Milliseconds a step of every variant and width, and those of a native step's parts."""
    rounds = options.turns(default=9, quick=3)
    study = load_study("laptop").with_lines(train=_LINES_A_TASK, test=16)
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        corpora = study.write_corpora(Path(folder))
        for arch in ("wide",) if options.quick else study.scale.archs:
            report[arch] = _measure(study, corpora, arch, rounds)
    return report


def _measure(study: Study, corpora: dict[str, StoredCorpus], arch: str, rounds: int) -> dict[str, Any]:
    size = study.sizes(arch)
    computes = {TORCH: ours.TORCH, NATIVE: ours.NATIVE, SHARED: replace(ours.NATIVE, threads=2)}
    variants = {name: _timed(ours.pretraining_step(study, size, corpora, c).step) for name, c in computes.items()}
    found = Comparison(take_turns(variants, rounds, warm_up=True), reference=TORCH, less_is_better=True)
    title = f"laptop {arch}: ms a step; {_STEPS} steps a turn, rounds: {rounds}"
    print_table(title, ["", *HEADINGS], found.rows())
    parts, flops = _parts(study, corpora, arch, rounds)
    peak = max(machine.gemm_peak().values())
    limit = flops / peak / 1e6  # ms
    rows = [[name, number(ms)] for name, ms in parts.items()]
    print_table(f"the native step's parts; limit: {flops / 1e6:.0f} MFLOP at {peak:.0f} GFLOP/s", ["", "ms"], rows)
    return {"steps": found.statistics(), "parts": parts, "flops": flops, "gemm_gflops": peak, "limit_ms": limit}


def _timed(step: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        started = time.perf_counter()
        for _ in range(_STEPS):
            step()
        return 1e3 * (time.perf_counter() - started) / _STEPS

    return measure


def _parts(study: Study, corpora: dict[str, StoredCorpus], arch: str, rounds: int) -> tuple[dict[str, float], int]:
    """Median ms of each part of a native step with one thread, and the FLOPs of its batch."""
    size = study.sizes(arch)
    training = ours.pretraining(study, size, corpora, ours.NATIVE)
    arithmetic, rows = NativeStep(training), next(training.rows())
    trees = ours.packed(training, rows)
    scale = 1.0 / sum(len(tree.targets) for tree in trees)

    def gradients() -> None:
        for part, tree in enumerate(trees):
            arithmetic.gradient(part, tree, scale)

    calls: dict[str, Callable[[], object]] = {
        "packing": lambda: ours.packed(training, rows),
        "loss and gradient": gradients,
        "update": lambda: arithmetic.update(len(trees), 0, 1e-9, map),
    }
    values = take_turns({name: _timed(call) for name, call in calls.items()}, rounds, warm_up=True)
    flops = tree_flops(size, len(study.vocabulary), trees)
    return {name: median(found) for name, found in values.items()}, flops
