"""Training, real (non-pad) tokens a second and share of the machine's peak: transformers twice, then this project.

All three begin with the same weights, see the same lines in the same order and use the paper's AdamW, so
that the losses must agree step by step.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

import machine
import ours
import transformers_training
from steps import Steps, model_flops, part, real_tokens
from study import Study, line_counts, load_study
from timing import HEADINGS, Comparison, Options, number, print_table, take_turns
from worldwidth.data.corpus import Lines
from worldwidth.settings.compute import parameter_count, training_flops
from worldwidth.settings.schema import Arch, Optimization

TRAINER, PLAIN, OURS = "transformers Trainer", "Qwen2ForCausalLM, plain loop", "this project"
_PRODUCTS = "torch.mm at these shapes"
_LINES_A_TASK = 4_000


@dataclass(frozen=True)
class _Case:
    """One model size: ``steps`` optimiser steps a turn, the first ``dropped`` of them not timed."""

    scale: str
    arch: str
    steps: int
    dropped: int


_CASES = (
    _Case("laptop", "narrow", steps=80, dropped=20),
    _Case("laptop", "wide", steps=40, dropped=10),
    _Case("paper", "narrow", steps=10, dropped=2),
    _Case("paper", "wide", steps=6, dropped=1),
)
_QUICK_CASES = (
    _Case("laptop", "narrow", steps=40, dropped=10),
    _Case("laptop", "wide", steps=20, dropped=5),
    _Case("paper", "narrow", steps=6, dropped=2),
    _Case("paper", "wide", steps=3, dropped=1),
)
_TOLERANCE = 1e-3  # nats: what float32 sums in another order may differ by after these few steps


def run(options: Options) -> dict[str, Any]:
    """All cases: ``"paper wide"`` -> variants, fractions, losses."""
    rounds = options.turns(default=3, quick=1)
    optimization = load_study("paper").scale.pretraining
    report: dict[str, Any] = {"accelerate": version("accelerate")}
    for scale in ("laptop", "paper"):
        study = load_study(scale)
        study = study.with_lines(line_counts(study.scale.corpus, train=_LINES_A_TASK, test=16))
        with tempfile.TemporaryDirectory() as folder:
            lines = ours.shuffled_lines(study.write_corpora(Path(folder)), study.seed)
        for threads in sorted({1, options.threads}):
            torch.set_num_threads(threads)
            peak = machine.gemm_peak()
            rates = ", ".join(f"{size}: {number(rate)}" for size, rate in peak.items())
            print(f"\ntorch.mm, square, GFLOP/s, threads: {threads}; {rates}")
            for case in _QUICK_CASES if options.quick else _CASES:
                if case.scale == scale:
                    found = _measure(case, study, lines, optimization, rounds, max(peak.values()), threads)
                    report[f"{scale} {case.arch}, threads: {threads}"] = {"gemm_gflops": peak, **found}
    torch.set_num_threads(1)
    return report


def _measure(
    case: _Case, study: Study, lines: Lines, optimization: Optimization, rounds: int, peak: float, threads: int
) -> dict[str, Any]:
    """One case. Every variant starts from the same saved weights in every round."""
    arch, size = study.scale.archs[case.arch], optimization.batch_size
    lines = part(lines, 0, case.steps * size)
    timed = part(lines, case.dropped * size, len(lines))
    texts = [study.vocabulary.decode(ids) for ids in lines.tokens.tolist()]
    losses: dict[str, list[float]] = {}

    def rate(name: str, train: Callable[[], Steps]) -> float:
        torch.set_num_threads(threads)  # this project's training leaves torch with one
        steps = train()
        losses[name] = steps.losses
        return real_tokens(timed) / steps.seconds(case.dropped)

    def products_rate() -> float:
        torch.set_num_threads(threads)
        tokens_a_step = real_tokens(timed) * size // len(timed)
        return machine.model_products(study.scale.model, arch, len(study.vocabulary), tokens_a_step)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ours.save_new_model(study, arch, folder)
        variants: dict[str, Callable[[], Steps]] = {
            TRAINER: partial(transformers_training.trainer_steps, folder, texts, optimization),
            PLAIN: partial(transformers_training.plain_steps, folder, lines, optimization),
            OURS: partial(ours.train_steps, folder, lines, optimization, threads),
        }
        values = take_turns(
            {
                _PRODUCTS: products_rate,
                **{name: partial(rate, name, train) for name, train in variants.items()},
            },
            rounds,
        )
    products = values.pop(_PRODUCTS)
    comparison = Comparison(values, reference=TRAINER)
    flops = model_flops(study.scale.model, arch, len(study.vocabulary), timed) / real_tokens(timed)
    fractions = {name: _fractions(rates, flops, peak, products) for name, rates in values.items()}
    differences = {name: _largest_difference(losses[name], losses[OURS]) for name in (TRAINER, PLAIN)}
    counted = f"threads: {threads}; {case.steps - case.dropped} steps of {size} lines a turn; rounds: {rounds}"
    print_table(
        f"{case.scale} {case.arch}: real tokens a second, {counted}",
        ["variant", *HEADINGS, "GFLOP/s", "of peak", "of shapes"],
        [
            [*row, number(entry["gflops"]), f"{entry['of_peak']:.0%}", f"{entry['of_shapes']:.0%}"]
            for row, entry in zip(comparison.rows(), fractions.values(), strict=True)
        ],
    )
    print(
        f"{_PRODUCTS}: {number(median(products))} GFLOP/s\na step's loss, largest difference: "
        + "; ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    )
    assert max(differences.values()) < _TOLERANCE, f"{case}: the losses differ by {differences}"
    return {
        "variants": comparison.statistics(),
        "fractions": fractions,
        "flops_a_token": flops,
        "flops_a_token_6n": _six_n(study, arch),
        "products_gflops": products,
        "loss_difference": differences,
        "losses": losses,
    }


def _fractions(rates: list[float], flops: float, peak: float, products: list[float]) -> dict[str, float]:
    """GFLOP/s, and their share of the best square product and of the products of this model's shapes in that round."""
    return {
        "gflops": median(rates) * flops / 1e9,
        "of_peak": median(rates) * flops / 1e9 / peak,
        "of_shapes": median(rate * flops / 1e9 / product for rate, product in zip(rates, products, strict=True)),
    }


def _largest_difference(losses: list[float], others: list[float]) -> float:
    return max(abs(loss - other) for loss, other in zip(losses, others, strict=True))


def _six_n(study: Study, arch: Arch) -> int:
    """FLOPs a token by the usual 6 x parameters, embeddings included."""
    return training_flops(parameter_count(study.scale.model, arch, len(study.vocabulary)), tokens=1)
