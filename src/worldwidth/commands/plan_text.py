"""The tables of `worldwidth plan`, in 80 columns: a row for each group of stages, or for every stage."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worldwidth.core.text import bytes_text, count, listed, plural, short, times, wrapped
from worldwidth.dvcio.forecast import CACHED, LATER, RUN, RUNS, UP_TO_DATE
from worldwidth.engine.costs import WidthPlan
from worldwidth.engine.timings import STAGE_TIMINGS
from worldwidth.engine.view import duration
from worldwidth.settings.schema import Settings

Row = dict[str, Any]
"""A stage of the plan: what StagePlan has."""

_SHORT = {UP_TO_DATE: "up to date", CACHED: "restored", RUN: "will run", LATER: "decided later", RUNS: "running"}
_DASH = "-"


@dataclass(frozen=True)
class Totals:
    """What is still to do, on this machine."""

    stages: int
    jobs_at_a_time: int
    seconds: float | None
    """None where a stage has never run here at this scale and arch."""
    peak_bytes: int | None
    """The most that a job held in memory when it last ran here; None if that is not known."""


def plan_lines(summary: dict[str, Any], rows: list[Row], totals: Totals, every: bool) -> Iterator[str]:
    """The head, the table of stages, and what all of them come to."""
    yield from wrapped(", ".join(f"{key} {summary[key]}" for key in ("arch", "scale", "seed", "parametrization")))
    yield f"{count(summary['parameters'])} parameters"
    yield ""
    yield f"{'stages':<20}{'steps':>8}{'tokens':>8}{'FLOPs':>8}{'disk':>8}{'time':>8}  state"
    grouped = [(row["stage"], [row]) for row in rows] if every else list(_groups(rows).items())
    for name, group in grouped:
        title = name if every or len(group) == 1 else f"{name.ljust(10)} {len(group)} stages"
        yield f"{title:<20}{_numbers(group)}  {_states(group)}".rstrip()
    yield f"{'total':<20}{_numbers(rows)}"
    yield from _reasons(rows)
    yield ""
    yield from wrapped(_said(summary, totals))


def _groups(rows: list[Row]) -> dict[str, list[Row]]:
    """Name before any ``@`` -> the stages."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["stage"].partition("@")[0], []).append(row)
    return {name if len(group) > 1 else group[0]["stage"]: group for name, group in found.items()}


def _states(group: list[Row]) -> str:
    counted = Counter(_SHORT[row["state"]] for row in group)
    if len(counted) == 1:
        return next(iter(counted))
    return ", ".join(f"{n} {state}" for state, n in counted.items())


def _numbers(rows: list[Row]) -> str:
    values = {column: sum(row[column] for row in rows) for column in ("steps", "tokens", "flops", "bytes")}
    steps = count(values["steps"]) if values["steps"] else _DASH
    sizes = [
        short(values[column]).replace(" ", "") if values[column] else _DASH for column in ("tokens", "flops", "bytes")
    ]
    seconds = [row["seconds"] for row in rows]
    time = duration(sum(seconds)) if None not in seconds else _DASH
    return "".join(f"{text:>8}" for text in (steps, *sizes, time))


def _reasons(rows: list[Row]) -> Iterator[str]:
    """Why stages will run: a line for each reason, with the groups that have it."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["state"] in (RUN, CACHED):
            found.setdefault(row["reason"], []).append(row)
    if found:
        yield ""
        yield "why they will run, or are restored from the run cache:"
    for reason, having in found.items():
        names = listed(f"{name} ({len(group)})" if len(group) > 1 else name for name, group in _groups(having).items())
        yield from wrapped(f"  {names}: {reason}", indent="    ")


def _said(summary: dict[str, Any], totals: Totals) -> str:
    """What it all comes to, in sentences."""
    at_once = plural(totals.jobs_at_a_time, "job") + " at a time"
    later = summary["stages_undecided"]
    text = f"{plural(summary['stages_to_run'], 'stage')} will run"
    if later:
        text += f", {count(later)} more may: their inputs can come out unchanged, or be known to the run cache"
    text += "."
    if totals.stages and totals.seconds is not None:
        text += f" All of it: about {duration(totals.seconds)} with {at_once}, by {STAGE_TIMINGS} of earlier runs here."
    elif totals.stages:
        text += " How long that takes is not known: not all of it has run here at this scale and arch."
    if totals.peak_bytes:
        most = bytes_text(totals.peak_bytes * totals.jobs_at_a_time)
        text += f" Memory: {bytes_text(totals.peak_bytes)} a job at most when it last ran, {most} for {at_once}."
    text += f" Disk: {bytes_text(summary['total']['bytes'])}."
    return f"{text} Tokens are estimated from 1,000 drawn lines a task; FLOPs are 6 x parameters x tokens."


def width_lines(settings: Settings, widths: list[WidthPlan]) -> Iterator[str]:
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
    yield f"\nbudget {settings.budget}: {rule[settings.budget]}"
    yield f"finetuning_budget {settings.finetuning_budget}: {finetuning_rule[settings.finetuning_budget]}"
    longest = max(7, *(len(width.arch) for width in widths))
    form = f"{{:<{longest}}} {{:>10}} {{:>6}} {{:>9}} {{:>6}} {{:>5}} {{:>7}} {{:>7}} {{:>5}} {{:>7}}"
    yield f"{'pre-training':>{longest + 48}}{'all fine-tuning':>25}"
    yield form.format("arch", "parameters", "epochs", "steps", "tokens", "FLOPs", "ratio", "steps", "FLOPs", "ratio")
    first = widths[0]
    for width in widths:
        yield form.format(
            width.arch,
            count(width.parameters),
            f"{width.epochs:.4g}",
            count(width.steps),
            _tight(width.tokens),
            _tight(width.flops),
            times(width.flops, first.flops),
            count(width.finetuning_steps),
            _tight(width.finetuning_flops),
            times(width.finetuning_flops, first.finetuning_flops),
        )


def _tight(value: float) -> str:
    return short(value).replace(" ", "")
