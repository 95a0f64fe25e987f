"""The report's charts of a comparison: the two results of the first screen, forgetting, and the forest of pairs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from worldwidth.comparison.axes import ARCH
from worldwidth.comparison.labels import SKILL
from worldwidth.comparison.primary import PAIR
from worldwidth.comparison.statistics import direction
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import MINUS, is_number, number, short
from worldwidth.plots.style import Look, arch_looks
from worldwidth.report.charts import CONTROL, Group, Row, dot_chart, legend_sign, marker
from worldwidth.report.sentences import OTHER, OVER, TRAINED, arm_titles

_SINGLE = Markup('<circle class="single" r="2.5"/>')
_BAR = Markup('<path stroke="currentColor" stroke-width="2" d="M-7 0H7"/>')


@dataclass(frozen=True)
class Panel:
    """A chart with what stands above it."""

    title: str
    scale: str
    chart: Markup


def result_panels(comparison: Comparison) -> list[Panel]:
    """Trained skill, and skill in other tasks with the control's; of every arm and level."""
    named = {TRAINED: "Tasks trained", OTHER: "Tasks not trained"}
    return [
        Panel(f"{title}: {SKILL}", "0 best constant answer, 1 no error", _means(comparison, name))
        for name, title in named.items()
        if name in comparison.metrics
    ]


def forgetting_panels(comparison: Comparison) -> list[Panel]:
    """Retention in the tasks trained and in the others."""
    names = [name for name in ("retention_trained", "retention_other") if name in comparison.metrics]
    return [Panel(comparison.metrics[name].label, "", _means(comparison, name)) for name in names]


def legend(comparison: Comparison) -> list[tuple[str, Markup]]:
    """What signs mean: every arch, and what is drawn of each."""
    looks = arch_looks(comparison.settings)
    found = [(arch, legend_sign(marker(looks[arch]))) for arch in comparison.archs]
    if OVER in comparison.metrics:
        found.append(("control: fine-tuned on no task", legend_sign(CONTROL)))
    found.append(("one seed", legend_sign(_SINGLE)))
    return [*found, ("95 % interval; with an arrow it goes on", legend_sign(_BAR))]


def _means(comparison: Comparison, name: str) -> Markup:
    titles = arm_titles(comparison)
    groups = [Group(titles[arm], list(_rows(comparison, arm, name))) for arm in comparison.arms]
    return dot_chart(groups, f"{comparison.metrics[name].label} of every {comparison.axis.noun}, with intervals")


def _rows(comparison: Comparison, arm: str, name: str) -> Iterator[Row]:
    above = {row["level"]: row["mean"] for row in records(comparison.means, arm=arm, metric=OVER)}
    for row in records(comparison.means, arm=arm, metric=name):
        level = row["level"]
        runs = records(comparison.runs, arm=arm, level=level)
        control = row["mean"] - above[level] if name == OTHER and is_number(above.get(level)) else math.nan
        yield Row(
            name=_name(comparison, runs[0]),
            look=_look(comparison, runs[0]),
            mean=_float(row["mean"]),
            low=_float(row["low"]),
            high=_float(row["high"]),
            singles=tuple(_float(run[name]) for run in runs) if len(runs) > 1 else (),
            control=control,
            is_joined=level in comparison.axis.sizes and is_number(row["mean"]),
        )


def _name(comparison: Comparison, run: dict[str, Any]) -> str:
    """A level, and of an arch its parameters."""
    level = str(run["level"])
    return f"{level} {short(run['parameters']).replace(' ', '')}" if comparison.axis.key == ARCH else level


def _look(comparison: Comparison, run: dict[str, Any]) -> Look:
    return arch_looks(comparison.settings)[run["arch"]]


def _float(value: Any) -> float:
    return float(value) if is_number(value) else math.nan


def forest(comparison: Comparison) -> tuple[str, list[tuple[str, Markup]]]:
    """What is compared, and a chart an arm: every two levels with the verdict."""
    declared = records(comparison.primary, role=PAIR)
    name = declared[0]["metric"] if declared else TRAINED if TRAINED in comparison.metrics else ""
    name = name or next(iter(comparison.metrics))
    rows = declared or records(comparison.differences, metric=name)
    titles, found = arm_titles(comparison), []
    for arm in comparison.arms:
        own = [_pair(comparison, row) for row in rows if row["arm"] == arm and is_number(row["mean"])]
        if own:
            label = f"{comparison.metrics[name].label}, every two levels{f', {titles[arm]}' if titles[arm] else ''}"
            found.append((titles[arm] or comparison.metrics[name].label, dot_chart([Group("", own)], label)))
    by = "Tukey's intervals and p" if declared else "intervals over seeds, p after Holm"
    return f"Differences in {comparison.metrics[name].label}; {by}.", found


def _pair(comparison: Comparison, row: dict[str, Any]) -> Row:
    run = records(comparison.runs, arm=row["arm"], level=row["other"])[0]
    verdict = row["verdict"].partition(";")[0].partition(":")[0]
    if direction(row["verdict"]):
        note = verdict
    elif is_number(row["excluded"]):
        note = f"{verdict}; > {number(row['excluded'], 2)} excluded"
    else:
        note = row["verdict"]
    return Row(
        name=f"{row['other']} {MINUS} {row['level']}",
        look=_look(comparison, run),
        mean=_float(row["mean"]),
        low=_float(row["low"]),
        high=_float(row["high"]),
        note=note,
    )
