"""What can and cannot be concluded, from the verdicts and the number of seeds."""

from collections.abc import Iterator
from typing import Any

from worldwidth.comparison.statistics import ALPHA
from worldwidth.comparison.tables import Comparison
from worldwidth.report.format import MINUS, count, in_prose, is_number, listed, number, plural, records
from worldwidth.report.tables import archs_of, direction


def told(comparison: Comparison, budget: str) -> list[str]:
    """A line for every metric in which a trend, or two widths, are told apart after Holm."""
    found = []
    for name, label, rows in _differences(comparison, budget):
        slopes = [row["slope"] for row in records(comparison.trends, budget=budget, metric=name) if _is_told(row)]
        parts = [f"{number(slope, sign=True)} per doubling of the width" for slope in slopes]
        pairs = [
            f"{row['other']} {MINUS} {row['arch']} {number(row['mean'], sign=True)}" for row in rows if _is_told(row)
        ]
        if parts + pairs:
            found.append(f"{label}: {'; '.join(parts + [', '.join(pairs)] * bool(pairs))}.")
    return found


def untold(comparison: Comparison, budget: str) -> list[str]:
    """A line for every metric in which some widths are not told apart, with what the intervals leave open."""
    found: dict[str, str] = {}
    for _, label, rows in _differences(comparison, budget):
        open_rows = [row for row in rows if not _is_told(row)]
        if open_rows:
            pairs = ", ".join(f"{row['other']} {MINUS} {row['arch']}" for row in open_rows)
            pairs = "any two widths" if len(open_rows) == len(rows) > 1 else pairs
            reach = [abs(row[end]) for row in open_rows for end in ("low", "high") if is_number(row[end])]
            limit = f"; differences of up to {number(max(reach), 2)} lie within the intervals" if reach else ""
            found[label] = f"{pairs}{limit}."
    if len(found) > 1 and len(set(found.values())) == 1:  # one seed: no interval tells one metric from another
        return [f"Every metric: {next(iter(found.values()))}"]
    return [f"{label}: {line}" for label, line in found.items()]


def _differences(comparison: Comparison, budget: str) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    for name, metric in comparison.metrics.items():
        rows = records(comparison.differences, budget=budget, metric=name)
        if rows:
            yield name, in_prose(metric.label), rows


def _is_told(row: dict[str, Any]) -> bool:
    return direction(row["verdict"]) != 0


def by_task(comparison: Comparison, budget: str) -> list[str]:
    """In which evaluated tasks the ends are told apart; empty where nothing is paired."""
    archs = archs_of(comparison, budget)
    rows = records(comparison.tasks, budget=budget, arch=archs[0], other=archs[-1])
    found = []
    for name, metric in comparison.metrics.items():
        of_metric = [row for row in rows if row["metric"] == name and _is_told(row)]
        if of_metric:
            tasks = ", ".join(f"{row['task']} {number(row['mean'], 2, sign=True)}" for row in of_metric)
            found.append(f"{in_prose(metric.label)}: {tasks}.")
    return found or ["Nothing is told apart."] * bool(rows)


def limits(comparison: Comparison) -> list[str]:
    """What bounds every comparison of this kind, with the numbers that show how far."""
    scale = comparison.settings.selected
    before, after = scale.pretraining, scale.finetuning
    risk = f"{100 * ALPHA:.0f} %"
    return [
        "Not told apart does not mean equal: the intervals say how large a difference would still fit.",
        f"Holm holds the chance of telling any difference that is not there at {risk} within a family of tests (the "
        "pairs of one metric, the trends of one budget), not over all families together; Student's t takes the "
        "seeds to scatter normally, which so few cannot show.",
        "Normalised improvement is relative to each width's own base model: the better that is on ordinary cities, "
        "the more 1 asks for. So the Atlantis skills and the base model's skill, which know no base model, stand "
        f"beside it{_by_width(comparison, 'base_skill', 'the skill of the base models is')}",
        "Transfer is to be read against the best constant answer, which earns a positive score where the base model "
        "is worse than it; on the scale of skill it is 0"
        f"{_by_width(comparison, 'skill_transfer', 'the skill in tasks not trained is')}",
        "Hyper-parameters are not tuned for each width: all share one optimiser, learning rate and initialisation "
        f"({before.optimizer}, {before.learning_rate:g} in pre-training; "
        f"{after.optimizer}, {after.learning_rate:g} in fine-tuning).",
        f"It is one world (seed {scale.world.seed}), with one set of Atlantis cities and one set of test lines: "
        "seeds say nothing about other worlds.",
        *_scale_limit(comparison),
    ]


def _scale_limit(comparison: Comparison) -> list[str]:
    if comparison.settings.scale == "paper":
        return []
    scale = comparison.settings.selected
    widths = listed(count(scale.archs[arch].hidden_size) for arch in comparison.archs)
    return [
        f"Scale {comparison.settings.scale} is not the published one: {count(scale.world.cities)} ordinary cities, "
        f"{plural(scale.model.num_hidden_layers, 'layer')}, hidden size {widths}. What holds here need not hold there."
    ]


def _by_width(comparison: Comparison, metric: str, what: str) -> str:
    parts = []
    for budget in comparison.budgets:
        rows = records(comparison.widths, budget=budget, metric=metric)
        values = listed(f"{number(row['mean'], 2)} ({row['arch']})" for row in rows)
        parts.append(f"{values} under {budget}" if len(comparison.budgets) > 1 else values)
    return f": {what} {'; '.join(parts)}."
