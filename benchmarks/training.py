"""Training, real (non-pad) tokens a second: transformers twice, then this project in torch and natively.

``of peak`` counts what the published way computes, padding left out; ``of the limit`` what is left to compute when
lines share their beginnings and the last layer is pruned. Both are shares of the machine's best product of matrices.
All begin with the same weights, see the same lines in the same order and use the paper's AdamW, so that the losses
must agree step by step.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

import machine
import ours
import transformers_training
from steps import Steps, model_flops, part, real_tokens, tree_flops
from study import Study, load_study
from timing import HEADINGS, Comparison, Options, number, print_table, take_turns
from worldwidth.data.corpus import Lines
from worldwidth.settings.schema import Optimization

TRAINER, PLAIN = "transformers Trainer", "Qwen2ForCausalLM, plain loop"
IN_TORCH, NATIVE = "this project, torch", "this project, native"
_LINES_A_TASK = 4_000


@dataclass(frozen=True)
class _Case:
    """One model size and how many optimiser steps a turn takes."""

    scale: str
    arch: str
    steps: int

    @property
    def dropped(self) -> int:
        """The first steps, which are not timed."""
        return max(1, self.steps // 4)


_CASES = (
    _Case("laptop", "narrow", 80),
    _Case("laptop", "wide", 40),
    _Case("paper", "narrow", 10),
    _Case("paper", "wide", 6),
)
_TOLERANCE = 1e-3  # nats: what float32 sums in another order may differ by after these few steps


def run(options: Options) -> dict[str, Any]:
    """All cases: ``"paper wide, threads: 1"`` -> variants, GFLOP/s, losses."""
    rounds = options.turns(default=3, quick=1)
    optimization = load_study("paper").scale.pretraining
    report: dict[str, Any] = {"accelerate": version("accelerate")}
    for scale in ("laptop", "paper"):
        study = load_study(scale).with_lines(train=_LINES_A_TASK, test=16)
        with tempfile.TemporaryDirectory() as folder:
            lines = ours.shuffled_lines(study.write_corpora(Path(folder)), study.seed)
        for threads in sorted({1, options.threads}):
            torch.set_num_threads(threads)
            peak = machine.gemm_peak()
            rates = ", ".join(f"{size}: {number(rate)}" for size, rate in peak.items())
            print(f"\ntorch.mm, square, GFLOP/s, threads: {threads}; {rates}")
            for case in _CASES:
                if case.scale == scale:
                    case = replace(case, steps=case.steps // 2) if options.quick else case
                    found = _measure(case, study, lines, optimization, rounds, max(peak.values()), threads)
                    report[f"{scale} {case.arch}, threads: {threads}"] = {"gemm_gflops": peak, **found}
    torch.set_num_threads(1)
    return report


def _measure(
    case: _Case, study: Study, lines: Lines, optimization: Optimization, rounds: int, peak: float, threads: int
) -> dict[str, Any]:
    """One case. Every variant starts from the same saved weights in every round."""
    sizes, size = study.sizes(case.arch), optimization.batch_size
    lines = part(lines, 0, case.steps * size)
    timed = part(lines, case.dropped * size, len(lines))
    texts = [study.vocabulary.decode(ids) for ids in lines.tokens.tolist()]
    losses: dict[str, list[float]] = {}

    def rate(name: str, train: Callable[[], Steps]) -> float:
        torch.set_num_threads(threads)  # this project's training leaves torch with one
        steps = train()
        losses[name] = steps.losses
        return real_tokens(timed) / steps.seconds(case.dropped)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ours.save_new_model(study, sizes, folder)
        variants: dict[str, Callable[[], Steps]] = {
            TRAINER: partial(transformers_training.trainer_steps, folder, texts, optimization),
            PLAIN: partial(transformers_training.plain_steps, folder, lines, optimization),
            IN_TORCH: partial(ours.train_steps, folder, lines, optimization, replace(ours.TORCH, threads=threads)),
            NATIVE: partial(ours.train_steps, folder, lines, optimization, replace(ours.NATIVE, threads=threads)),
        }
        values = take_turns({name: partial(rate, name, train) for name, train in variants.items()}, rounds)
    comparison = Comparison(values, reference=TRAINER)
    flops = model_flops(sizes, len(study.vocabulary), timed) / real_tokens(timed)
    gflops = {name: median(rates) * flops / 1e9 for name, rates in values.items()}
    differences = {name: _largest_difference(losses[name], losses[NATIVE]) for name in (TRAINER, PLAIN, IN_TORCH)}
    training = ours.pretraining_of(study, sizes, timed, optimization)
    trees = ours.packed(training, next(training.rows()))
    needed = tree_flops(sizes, len(study.vocabulary), trees)
    shared = needed / sum(int(tree.lengths.sum()) + len(tree.lengths) for tree in trees) / flops
    counted = f"threads: {threads}; {case.steps - case.dropped} steps of {size} lines a turn; rounds: {rounds}"
    print_table(
        f"{case.scale} {case.arch}: real tokens a second, {counted}",
        ["variant", *HEADINGS, "GFLOP/s", "of peak", "of the limit"],
        [
            [*row, number(rate), f"{rate / peak:.0%}", f"{rate * shared / peak:.0%}" if "project" in row[0] else "-"]
            for row, rate in zip(comparison.rows(), gflops.values(), strict=True)
        ],
    )
    shown = "; ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    print(f"a step's loss, largest difference: {shown}")
    assert max(differences.values()) < _TOLERANCE, f"{case}: the losses differ by {differences}"
    return {
        "variants": comparison.statistics(),
        "gflops": gflops,
        "flops_a_token": flops,
        "share_of_flops_needed": shared,
        "loss_difference": differences,
        "losses": losses,
    }


def _largest_difference(losses: list[float], others: list[float]) -> float:
    return max(abs(loss - other) for loss, other in zip(losses, others, strict=True))
