"""`worldwidth plan`: what the study costs at the selected scale and width, and what DVC would run now and why."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from worldwidth import world
from worldwidth.compute import parameter_count, training_epochs, training_flops, training_steps, vocabulary_size
from worldwidth.corpus import generate
from worldwidth.forecast import LATER, RUN, UP_TO_DATE, Forecast, forecast
from worldwidth.layout import POPULATIONS, stage_of
from worldwidth.matrix import Lines, Matrix
from worldwidth.pipeline import check_rendered

_SAMPLE = Lines(train=1000, validation=1, test=1)

LineSizes = tuple[dict[tuple[str, str], float], dict[str, int]]
"""Mean tokens of a line by (task, population), and bytes a line on disk by task."""


@dataclass(frozen=True)
class StagePlan:
    """One row of the plan. Tokens, and what follows from them, are estimates from a sample of lines."""

    stage: str
    state: str
    reason: str
    steps: int = 0
    tokens: int = 0
    flops: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class WidthPlan:
    """What pre-training and all fine-tuning of one width cost under the budget; tokens are estimates."""

    arch: str
    parameters: int
    epochs: float
    steps: int
    tokens: int
    flops: int
    finetuning_flops: int


def study_plan(matrix: Matrix, lines: LineSizes) -> list[StagePlan]:
    """Every stage in the order in which it would run, with its size and DVC's answer."""
    check_rendered(matrix)
    sizes = stage_sizes(matrix, lines)
    return [_with_sizes(answer, sizes.get(answer.stage, {})) for answer in forecast()]


def _with_sizes(answer: Forecast, sizes: dict[str, int]) -> StagePlan:
    return StagePlan(answer.stage, answer.state, answer.reason, **sizes)


def stage_sizes(matrix: Matrix, lines: LineSizes) -> dict[str, dict[str, int]]:
    """stage -> steps, tokens, flops, bytes of what it writes."""
    scale = matrix.selected
    lengths, line_bytes = lines
    parameters = parameter_count(scale.model, matrix.selected_arch, vocabulary_size(scale))
    sizes: dict[str, dict[str, int]] = {}
    for task in matrix.tasks:
        counts = {p: getattr(scale.corpus, p) for p in POPULATIONS}
        total = {p: n.train + n.validation + n.test for p, n in counts.items()}
        sizes[f"corpus@{task}"] = {"bytes": sum(total[p] * line_bytes[task] for p in POPULATIONS)}
    for model in matrix.models:
        settings = scale.pretraining if model == "base" else scale.finetuning
        tokens = round(_mixture_tokens(matrix, model, lengths) * training_epochs(matrix, model))
        sizes[stage_of(model)] = {
            "steps": training_steps(matrix, model),
            "tokens": tokens,
            "flops": training_flops(parameters, tokens),
            "bytes": 4 * parameters * (settings.checkpoints + 2),  # those on the way, step 0 and the final model
        }
    return sizes


def width_plans(matrix: Matrix, lines: LineSizes) -> list[WidthPlan]:
    """Every width of the selected scale under the selected budget."""
    lengths, _ = lines
    plans: list[WidthPlan] = []
    for arch, sizes in matrix.selected.archs.items():
        own = replace(matrix, arch=arch)
        parameters = parameter_count(own.selected.model, sizes, vocabulary_size(own.selected))
        tokens = {
            model: round(_mixture_tokens(own, model, lengths) * training_epochs(own, model)) for model in own.models
        }
        plans.append(
            WidthPlan(
                arch=arch,
                parameters=parameters,
                epochs=training_epochs(own, "base"),
                steps=training_steps(own, "base"),
                tokens=tokens["base"],
                flops=training_flops(parameters, tokens["base"]),
                finetuning_flops=training_flops(parameters, sum(tokens[model] for model in own.finetunes)),
            )
        )
    return plans


def line_sizes(matrix: Matrix) -> LineSizes:
    """Mean tokens of a line by (task, population), and bytes a line on disk by task, from 1,000 drawn lines."""
    scale = matrix.selected
    small = replace(scale, corpus=replace(scale.corpus, world=_SAMPLE, atlantis=_SAMPLE))
    cities = world.build(scale.world)
    lengths: dict[tuple[str, str], float] = {}
    line_bytes: dict[str, int] = {}
    for task in matrix.tasks:
        corpus = generate(small, task, cities)
        for population in POPULATIONS:
            queries, lines = corpus[f"{population}-train"]
            lengths[task, population] = float(np.mean(lines.lengths))
            stored = (
                lines.tokens.itemsize * lines.tokens.shape[1] + lines.lengths.itemsize + 2 * queries.cities.shape[1]
            )
            line_bytes[task] = max(line_bytes.get(task, 0), stored)
    return lengths, line_bytes


def _mixture_tokens(matrix: Matrix, model: str, lengths: dict[tuple[str, str], float]) -> float:
    """Tokens in one pass over the training mixture of ``model``."""
    scale = matrix.selected
    if model == "base":
        return sum(scale.corpus.world.train * lengths[task, "world"] for task in matrix.tasks)
    settings = scale.finetuning
    trained = sum(
        settings.world_lines * lengths[task, "world"] + settings.atlantis_lines * lengths[task, "atlantis"]
        for task in matrix.finetunes[model]
    )
    return trained + sum(settings.warmup_lines * lengths[task, "atlantis"] for task in matrix.tasks)


def print_plan(matrix: Matrix, as_json: bool) -> None:
    """Print the plan as a table or as JSON."""
    lines, scale = line_sizes(matrix), matrix.selected
    rows, widths = study_plan(matrix, lines), width_plans(matrix, lines)
    columns = ("steps", "tokens", "flops", "bytes")
    total = {column: sum(getattr(row, column) for row in rows) for column in columns}
    parameters = parameter_count(scale.model, matrix.selected_arch, vocabulary_size(scale))
    summary: dict[str, Any] = {
        "arch": matrix.arch,
        "scale": matrix.scale,
        "seed": matrix.seed,
        "budget": matrix.budget,
        "reference": matrix.reference,
        "parameters": parameters,
        "stages_to_run": sum(row.state == RUN for row in rows),
        "stages_undecided": sum(row.state == LATER for row in rows),
        "total": total,
    }
    if as_json:
        listed = {"widths": [asdict(width) for width in widths], "stages": [asdict(row) for row in rows]}
        print(json.dumps({**summary, **listed}, indent=2))
        return
    print(f"arch {matrix.arch}, scale {matrix.scale}, seed {matrix.seed}, budget {matrix.budget}")
    print(f"{parameters:,} parameters\n")
    print(f"{'stage':<20} {'steps':>9} {'tokens':>9} {'FLOPs':>9} {'disk':>9}  state")
    for row in rows:
        state = (
            row.state if row.state == UP_TO_DATE else f"{row.state}{' ' if row.state == LATER else ': '}{row.reason}"
        )
        print(f"{row.stage:<20} {_numbers(asdict(row))}  {state[:100]}")
    print(f"{'total':<20} {_numbers(total)}")
    print(
        f"\n{summary['stages_to_run']} stages will run, {summary['stages_undecided']} are decided after them (their "
        "inputs may come out unchanged, or be known to the run cache)."
        "\nTokens are estimated from 1,000 drawn lines a task; FLOPs are 6 x parameters x tokens."
    )
    _print_widths(matrix, widths)


def _print_widths(matrix: Matrix, widths: list[WidthPlan]) -> None:
    """What the widths cost beside each other, under the selected budget."""
    rule = {
        "epochs": "each width its own epochs",
        "tokens": f"the pre-training tokens of {matrix.reference} for every width",
        "flops": f"the pre-training FLOPs of {matrix.reference} for every width",
    }
    print(f"\nbudget {matrix.budget}: {rule[matrix.budget]}")
    columns = ("arch", "parameters", "epochs", "steps", "tokens", "FLOPs", "x", "tuning FLOPs", "x")
    print("{:<10} {:>12} {:>8} {:>9} {:>9} {:>9} {:>6} {:>13} {:>6}".format(*columns))
    first = widths[0]
    for width in widths:
        print(
            f"{width.arch:<10} {width.parameters:>12,} {width.epochs:>8.4g} {width.steps:>9,}",
            f"{_short(width.tokens):>9} {_short(width.flops):>9} {width.flops / first.flops:>6.3g}",
            f"{_short(width.finetuning_flops):>13} {width.finetuning_flops / first.finetuning_flops:>6.3g}",
        )


def _numbers(values: dict[str, Any]) -> str:
    return " ".join(f"{_short(values[column]):>9}" for column in ("steps", "tokens", "flops", "bytes"))


def _short(value: int) -> str:
    """A number in four significant digits: 164k, 0.76G, 28.9P."""
    if value == 0:
        return "-"
    for power, letter in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if value >= 10**power:
            return f"{value / 10**power:.4g}{letter}"
    return str(value)
