"""`worldwidth plan`: what the study costs at the selected scale and width, and what DVC would run now and why."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from worldwidth.commands.plan_sweep import print_sweep_plan
from worldwidth.comparison.declared import check_analysis
from worldwidth.core.text import count, short, times
from worldwidth.dvcio.forecast import LATER, RUN, UP_TO_DATE, Forecast, forecast
from worldwidth.engine.costs import LineSizes, WidthPlan, line_sizes, stage_sizes, width_plans
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.compute import parameter_count
from worldwidth.settings.schema import Settings


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


def study_plan(settings: Settings, lines: LineSizes) -> list[StagePlan]:
    """Every stage in the order in which it would run, with its size and DVC's answer."""
    check_rendered(settings)
    sizes = stage_sizes(settings, lines)
    return [_with_sizes(answer, sizes.get(answer.stage, {})) for answer in forecast()]


def _with_sizes(answer: Forecast, sizes: dict[str, int]) -> StagePlan:
    return StagePlan(answer.stage, answer.state, answer.reason, **sizes)


def print_plan(settings: Settings, as_json: bool, sweep: str | None = None, replicates: int | None = None) -> None:
    """Print the plan as a table or as JSON; with ``sweep`` what that sweep of params.yaml can tell, or would with so
    many ``replicates``.

    Raises:
        WorldwidthError: there is no such sweep, params.yaml declares no analysis, or dvc.yaml is not its rendering.
    """
    if sweep is not None:
        print_sweep_plan(settings, sweep, replicates, as_json)
        return
    check_analysis(settings)
    lines = line_sizes(settings)
    rows, widths = study_plan(settings, lines), width_plans(settings, lines)
    columns = ("steps", "tokens", "flops", "bytes")
    total = {column: sum(getattr(row, column) for row in rows) for column in columns}
    parameters = parameter_count(settings.selected, settings.sizes)
    summary: dict[str, Any] = {
        "arch": settings.arch,
        "scale": settings.scale,
        "seed": settings.seed,
        "budget": settings.budget,
        "finetuning_budget": settings.finetuning_budget,
        "parametrization": settings.parametrization,
        "reference": settings.reference,
        "parameters": parameters,
        "stages_to_run": sum(row.state == RUN for row in rows),
        "stages_undecided": sum(row.state == LATER for row in rows),
        "total": total,
    }
    if as_json:
        listed = {"widths": [asdict(width) for width in widths], "stages": [asdict(row) for row in rows]}
        print(json.dumps({**summary, **listed}, indent=2))
        return
    chosen = ("arch", "scale", "seed", "budget", "finetuning_budget", "parametrization")
    print(", ".join(f"{key} {summary[key]}" for key in chosen))
    print(f"{count(parameters)} parameters\n")
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
    _print_widths(settings, widths)


def _print_widths(settings: Settings, widths: list[WidthPlan]) -> None:
    """What the widths cost beside each other, under the selected budgets."""
    rule = {
        "epochs": "each arch its own epochs",
        "tokens": f"the pre-training tokens of {settings.reference} for every arch",
        "flops": f"the pre-training FLOPs of {settings.reference} for every arch",
    }
    finetuning_rule = {
        "epochs": "each arch its own finetuning.epochs",
        "flops": f"the fine-tuning FLOPs of {settings.reference} for every arch",
    }
    print(f"\nbudget {settings.budget}: {rule[settings.budget]}")
    print(f"finetuning_budget {settings.finetuning_budget}: {finetuning_rule[settings.finetuning_budget]}")
    columns = ("arch", "parameters", "epochs", "steps", "tokens", "FLOPs", "ratio", "steps", "FLOPs", "ratio")
    print(f"{'':<23} {'pre-training':>45} {'all fine-tuning':>27}")
    print("{:<10} {:>12} {:>8} {:>9} {:>9} {:>9} {:>6} {:>10} {:>9} {:>6}".format(*columns))
    first = widths[0]
    for width in widths:
        print(
            f"{width.arch:<10} {count(width.parameters):>12} {width.epochs:>8.4g} {count(width.steps):>9}",
            f"{short(width.tokens):>9} {short(width.flops):>9} {times(width.flops / first.flops):>6}",
            f"{count(width.finetuning_steps):>10} {short(width.finetuning_flops):>9}",
            f"{times(width.finetuning_flops / first.finetuning_flops):>6}",
        )


def _numbers(values: dict[str, Any]) -> str:
    steps = count(values["steps"]) if values["steps"] else "-"
    sizes = (short(values[column]) if values[column] else "-" for column in ("tokens", "flops", "bytes"))
    return " ".join(f"{text:>9}" for text in (steps, *sizes))
