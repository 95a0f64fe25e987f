"""A pre-training step in torch, laptop wide: one thread, torch's own two, two that share the batch; and its profile."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import ours
from study import load_study
from timing import HEADINGS, Comparison, Options, number, print_table, take_turns

_STEPS = 8  # a turn
_LINES_A_TASK = 2_000
_SHOWN = 12  # operations of the profile
ONE, TORCH, SHARED = "one thread", "two threads of torch", "two threads that share a batch"


def run(options: Options) -> dict[str, Any]:
    """Milliseconds a step of every variant, and the operations that take the most."""
    rounds = options.turns(default=9, quick=3)
    study = load_study("laptop").with_lines(train=_LINES_A_TASK, test=16)
    with tempfile.TemporaryDirectory() as folder:
        corpora = study.write_corpora(Path(folder))
        steps = {
            name: ours.pretraining_step(study, study.scale.archs["wide"], corpora, threads)
            for name, threads in ((ONE, 1), (TORCH, 1), (SHARED, 2))
        }
        variants = {name: _timed(step, 2 if name == TORCH else 1) for name, step in steps.items()}
        found = Comparison(take_turns(variants, rounds, warm_up=True), reference=ONE, less_is_better=True)
        profiled = _profiled(steps[ONE])
    title = f"laptop wide, ms a step; {_STEPS} steps a turn, rounds: {rounds}"
    print_table(title, ["", *HEADINGS], found.rows())
    rows = [[name, number(ms), f"{calls:.0f}"] for name, ms, calls in profiled]
    print_table("The step with one thread: the operations that take most", ["operation", "ms", "calls"], rows)
    return {"threads": found.statistics(), "profile": profiled}


def _timed(step: Callable[[], object], threads: int) -> Callable[[], float]:
    def measure() -> float:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        for _ in range(_STEPS):
            step()
        return 1e3 * (time.perf_counter() - started) / _STEPS

    return measure


def _profiled(step: Callable[[], object]) -> list[tuple[str, float, float]]:
    """(operation, its own ms a step, calls a step), the most expensive first."""
    torch.set_num_threads(1)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(_STEPS):
            step()
    found = sorted(profiler.key_averages(), key=lambda entry: -entry.self_cpu_time_total)
    return [(e.key, e.self_cpu_time_total / 1e3 / _STEPS, e.count / _STEPS) for e in found[:_SHOWN]]
