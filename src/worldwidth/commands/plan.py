"""`worldwidth plan`: what the study costs at the selected scale and width, and what DVC would run now and why."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from worldwidth.commands.plan_sweep import print_sweep_plan
from worldwidth.commands.plan_text import Totals, plan_lines, width_lines
from worldwidth.comparison.declared import check_analysis
from worldwidth.core.machine import cores
from worldwidth.dvcio.forecast import LATER, RUN, RUNS, UP_TO_DATE, Forecast, forecast_with_outs
from worldwidth.dvcio.repo import needs_of, open_repo
from worldwidth.engine.costs import LineSizes, line_sizes, stage_sizes, width_plans
from worldwidth.engine.course import schedule
from worldwidth.engine.run import job_slots, visible_gpus
from worldwidth.engine.timings import START, Timings
from worldwidth.engine.view import views
from worldwidth.pipeline.groups import group_stages, plan_jobs
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
    seconds: float | None = None
    """What it took before; None if it never ran here at this scale and arch."""


def asked() -> tuple[list[Forecast], dict[str, set[str]]]:
    """What DVC would do with every stage, and the stages that each reads from.

    A run of this project that is going on is waited for where it holds DVC's lock, moments at a time; what it runs now
    is said to run.
    """
    under_way = views()
    with open_repo(wait=bool(under_way)) as repo, repo.lock:
        answers, needs = forecast_with_outs(repo)[0], needs_of(repo)
    running = {running.name for view in under_way for running in view.running}
    return [
        Forecast(answer.stage, RUNS, "") if answer.stage in running and answer.state != UP_TO_DATE else answer
        for answer in answers
    ], needs


def print_plan(
    settings: Settings, as_json: bool, every: bool = False, sweep: str | None = None, replicates: int | None = None
) -> None:
    """Print the plan as a table or as JSON; with ``sweep`` what that sweep of params.yaml can tell, or would with so
    many ``replicates``.

    Args:
        every: a row for every stage; without it one for a group.

    Raises:
        WorldwidthError: there is no such sweep, params.yaml declares no analysis, or dvc.yaml is not its rendering.
    """
    if sweep is not None:
        print_sweep_plan(settings, sweep, replicates, as_json)
        return
    check_analysis(settings)
    check_rendered(settings)
    lines, timings = line_sizes(settings), Timings()
    answers, needs = asked()
    rows, widths = study_plan(settings, lines, timings, answers), width_plans(settings, lines)
    columns = ("steps", "tokens", "flops", "bytes")
    total = {column: sum(getattr(row, column) for row in rows) for column in columns}
    totals = _totals(settings, timings, answers, needs)
    summary: dict[str, Any] = {
        "arch": settings.arch,
        "scale": settings.scale,
        "seed": settings.seed,
        "budget": settings.budget,
        "finetuning_budget": settings.finetuning_budget,
        "parametrization": settings.parametrization,
        "reference": settings.reference,
        "parameters": parameter_count(settings.selected, settings.sizes),
        "stages_to_run": sum(row.state == RUN for row in rows),
        "stages_undecided": sum(row.state == LATER for row in rows),
        "total": total,
        **asdict(totals),
    }
    if as_json:
        found = {"widths": [asdict(width) for width in widths], "stages": [asdict(row) for row in rows]}
        print(json.dumps({**summary, **found}, indent=2))
        return
    for line in [*plan_lines(summary, [asdict(row) for row in rows], totals, every), *width_lines(settings, widths)]:
        print(line)


def study_plan(settings: Settings, lines: LineSizes, timings: Timings, answers: list[Forecast]) -> list[StagePlan]:
    """Every stage in the order in which it would run, with its size and DVC's answer."""
    sizes = stage_sizes(settings, lines)
    return [
        StagePlan(
            answer.stage,
            answer.state,
            answer.reason,
            **sizes.get(answer.stage, {}),
            seconds=timings.expected(settings, answer.stage),
        )
        for answer in answers
    ]


def _totals(settings: Settings, timings: Timings, answers: list[Forecast], needs: dict[str, set[str]]) -> Totals:
    """Time and memory of all that is not up to date, by what `worldwidth run` took before."""
    hardware = settings.selected.hardware
    slots = len(job_slots(None, visible_gpus(hardware), cores() // hardware.threads))
    to_do = {answer.stage for answer in answers if answer.state in (RUN, LATER)}
    jobs = plan_jobs(group_stages(settings, slots), to_do, needs)
    parts = {job.name: [timings.expected(settings, part) for part in (*job.stages, START)] for job in jobs}
    known = {name: [part for part in of_job if part is not None] for name, of_job in parts.items()}
    seconds = None
    if all(len(known[name]) == len(of_job) for name, of_job in parts.items()):
        costs = {name: sum(of_job) for name, of_job in known.items()}
        seconds = schedule(costs, {job.name: job.after for job in jobs}, slots)
    return Totals(len(to_do), slots, seconds, timings.peak(settings))
