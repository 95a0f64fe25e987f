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


def study_plan(matrix: Matrix) -> list[StagePlan]:
    """Every stage in the order in which it would run, with its size and DVC's answer."""
    check_rendered(matrix)
    sizes = _stage_sizes(matrix)
    return [_with_sizes(answer, sizes.get(answer.stage, {})) for answer in forecast()]


def _with_sizes(answer: Forecast, sizes: dict[str, int]) -> StagePlan:
    return StagePlan(answer.stage, answer.state, answer.reason, **sizes)


def _stage_sizes(matrix: Matrix) -> dict[str, dict[str, int]]:
    """stage -> steps, tokens, flops, bytes of what it writes."""
    scale = matrix.selected
    lengths, line_bytes = _line_sizes(matrix)
    parameters = parameter_count(scale.model, matrix.selected_arch, vocabulary_size(scale))
    sizes: dict[str, dict[str, int]] = {}
    for task in matrix.tasks:
        lines = {p: getattr(scale.corpus, p) for p in POPULATIONS}
        total = {p: n.train + n.validation + n.test for p, n in lines.items()}
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


def _line_sizes(matrix: Matrix) -> tuple[dict[tuple[str, str], float], dict[str, int]]:
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
    rows, scale = study_plan(matrix), matrix.selected
    columns = ("steps", "tokens", "flops", "bytes")
    total = {column: sum(getattr(row, column) for row in rows) for column in columns}
    parameters = parameter_count(scale.model, matrix.selected_arch, vocabulary_size(scale))
    summary: dict[str, Any] = {
        "arch": matrix.arch,
        "scale": matrix.scale,
        "seed": matrix.seed,
        "budget": matrix.budget,
        "parameters": parameters,
        "stages_to_run": sum(row.state == RUN for row in rows),
        "stages_undecided": sum(row.state == LATER for row in rows),
        "total": total,
    }
    if as_json:
        print(json.dumps({**summary, "stages": [asdict(row) for row in rows]}, indent=2))
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
