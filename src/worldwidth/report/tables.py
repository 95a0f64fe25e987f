"""The report's tables: rows and cells of a comparison as text."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worldwidth.comparison.metrics import Metric
from worldwidth.comparison.primary_text import contrast_rows, pair_rows, sensitivity_rows
from worldwidth.comparison.statistics import INTERVAL, direction
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import DASH, MINUS, count, interval, is_number, number, p_value, plural, short, times


@dataclass(frozen=True)
class Stat:
    """A number with what is known about it."""

    value: str
    interval: str
    notes: tuple[str, ...]
    """Short lines below: what test lines add, cells or seeds that are missing."""
    hint: str
    """In a sentence, for the tooltip."""


@dataclass(frozen=True)
class Test:
    """One tested number: a trend, or a difference of two levels."""

    metric: str
    levels: str
    value: str
    interval: str
    """Over seeds; with one seed, what test lines add."""
    n: int
    p: str
    p_holm: str
    verdict: str
    direction: int
    """1 significantly higher, -1 lower, 0 not significant."""


@dataclass(frozen=True)
class Heading:
    """Metrics under one heading; no sub-headings where it is one metric."""

    label: str
    members: tuple[str, ...]


def headings(metrics: dict[str, Metric]) -> list[Heading]:
    """The metrics' labels split into what those of one matrix share and what tells them apart."""
    by_matrix: dict[str, list[str]] = {}
    for metric in metrics.values():
        by_matrix.setdefault(metric.matrix, []).append(metric.label)
    found = []
    for labels in by_matrix.values():
        shared = _shared_words(labels)
        members = tuple(label.removeprefix(shared).strip() for label in labels) if len(labels) > 1 else ()
        found.append(Heading(shared.strip(" ,"), members))
    return found


def _shared_words(labels: list[str]) -> str:
    """The words with which all labels begin."""
    words = zip(*(label.split() for label in labels), strict=False)
    return " ".join(at[0] for at in itertools.takewhile(lambda at: len(set(at)) == 1, words))


def sizes(comparison: Comparison) -> list[dict[str, str]]:
    """The archs: what differs between them by construction."""
    found = []
    for name in comparison.archs:
        arch, run = comparison.of_archs[name].sizes, records(comparison.runs, arch=name)[0]
        found.append(
            {
                "arch": name,
                "layers": count(arch.num_hidden_layers),
                "hidden_size": count(arch.hidden_size),
                "intermediate_size": count(arch.intermediate_size),
                "heads": count(arch.num_attention_heads),
                "head_size": count(arch.hidden_size // arch.num_attention_heads),
                "parameters": count(run["parameters"]),
            }
        )
    return found


def compute_means(comparison: Comparison, arm: str) -> dict[str, dict[str, float]]:
    """level -> epochs, steps, tokens, FLOPs, averaged over replicates (they differ by a few tokens at most)."""
    columns = ["epochs", "steps", "tokens", "flops", "finetuning_steps", "finetuning_tokens", "finetuning_flops"]
    columns += ["hidden_size", "parameters"]
    found = {}
    for level in comparison.levels(arm):
        rows = records(comparison.runs, arm=arm, level=level)
        found[level] = {column: sum(float(row[column]) for row in rows) / len(rows) for column in columns}
    return found


def compute_rows(comparison: Comparison, arm: str) -> list[dict[str, str]]:
    """The same as text, with ratios to the first."""
    means = compute_means(comparison, arm)
    first = next(iter(means.values()))
    return [
        {
            "level": level,
            "epochs": f"{of['epochs']:.4g}",
            "width_epochs": count(of["hidden_size"] * of["epochs"]),
            "steps": count(of["steps"]),
            "tokens": count(of["tokens"]),
            "flops": short(of["flops"], "FLOP"),
            "flops_ratio": times(of["flops"] / first["flops"]),
            "finetuning_steps": count(of["finetuning_steps"]),
            "finetuning_tokens": count(of["finetuning_tokens"]),
            "finetuning_flops": short(of["finetuning_flops"], "FLOP"),
            "finetuning_ratio": times(of["finetuning_flops"] / first["finetuning_flops"]),
        }
        for level, of in means.items()
    ]


def mean_rows(comparison: Comparison, arm: str, metrics: dict[str, Metric]) -> list[tuple[str, int, list[Stat]]]:
    """level, its runs, and one number for each of ``metrics``."""
    found = []
    for level in comparison.levels(arm):
        runs = len(records(comparison.runs, arm=arm, level=level))
        by_metric = {row["metric"]: row for row in records(comparison.means, arm=arm, level=level)}
        stats = [_stat(comparison, by_metric[name], metric, runs) for name, metric in metrics.items()]
        found.append((level, runs, stats))
    return found


def _stat(comparison: Comparison, row: dict[str, Any], metric: Metric, runs: int) -> Stat:
    possible, found = metric.possible_cells(comparison.settings), interval(row["low"], row["high"])
    notes = [_line_note(row)] if _line_note(row) else []
    if row["cells"] < possible:
        notes.append(f"{row['cells']} of {possible} cells")
    if row["n"] < runs:
        notes.append(f"n = {row['n']}")
    value = number(row["mean"])
    hint = f"{row['level']}, {in_prose(metric.label)}: {value}"
    hint += f", {INTERVAL} {found}" if found else ""
    hint += f", standard deviation over seeds {number(row['sd'])}" if is_number(row["sd"]) else ""
    return Stat(value, found, tuple(notes), f"{hint}; n = {row['n']}, {plural(row['cells'], 'cell')}")


def primary_tables(comparison: Comparison) -> list[tuple[str, list[dict[str, str]]]]:
    """Captions and rows of the declared analysis; none where there is nothing to show."""
    named = {
        "The declared contrast": contrast_rows,
        "Every two of them, with Tukey's intervals": pair_rows,
        "The same contrast by other estimators": sensitivity_rows,
    }
    tables = [(caption, list(rows(comparison))) for caption, rows in named.items()]
    return [(caption, rows) for caption, rows in tables if rows]


def trend_tests(comparison: Comparison, arm: str) -> list[Test]:
    """The slopes per doubling."""
    return [_test(comparison, row, row["levels"], row["slope"]) for row in records(comparison.trends, arm=arm)]


def pair_tests(comparison: Comparison, arm: str) -> list[Test]:
    """The differences of every two levels, metric by metric."""
    rows = [row for name in comparison.metrics for row in records(comparison.differences, arm=arm, metric=name)]
    return [_test(comparison, row, f"{row['other']} {MINUS} {row['level']}", row["mean"]) for row in rows]


def _test(comparison: Comparison, row: dict[str, Any], levels: str, value: Any) -> Test:
    return Test(
        metric=in_prose(comparison.metrics[row["metric"]].label),
        levels=levels,
        value=number(value, sign=True),
        interval=interval(row["low"], row["high"]) or _line_note(row),
        n=row["n"],
        p=p_value(row["p"]),
        p_holm=p_value(row["p_holm"]),
        verdict=_without_direction(row["verdict"]),
        direction=direction(row["verdict"]),
    )


def _without_direction(verdict: str) -> str:
    """An arrow stands for it."""
    return verdict.partition(":")[0]


def _line_note(row: dict[str, Any]) -> str:
    """What test lines add to the uncertainty; empty where that is not known."""
    return f"lines ±{number(row['line_se'])}" if is_number(row.get("line_se")) else ""


@dataclass(frozen=True)
class Verdict:
    """What is significant in one metric."""

    metric: str
    trend: str
    verdict: str
    """On the trend."""
    direction: int
    pairs: str
    """Two levels each whose difference is significant."""
    reach: str
    """The bound above which a difference of any other pair is excluded."""
    tasks: str
    """Those in which the first and the last level differ significantly."""


def verdicts(comparison: Comparison, arm: str) -> list[Verdict]:
    """One row a metric: what is significant after Holm, and what the intervals leave open."""
    levels = comparison.levels(arm)
    found = []
    for name, metric in comparison.metrics.items():
        pairs = records(comparison.differences, arm=arm, metric=name)
        trends = records(comparison.trends, arm=arm, metric=name)
        trend: dict[str, Any] = trends[0] if trends else {"slope": None, "verdict": ""}
        tasks = records(comparison.tasks, arm=arm, metric=name, level=levels[0], other=levels[-1])
        bounds = [row["excluded"] for row in pairs if not direction(row["verdict"])]
        reach = [bound for bound in bounds if is_number(bound)]
        if pairs:
            found.append(
                Verdict(
                    metric=in_prose(metric.label),
                    trend=number(trend["slope"], sign=True),
                    verdict=_without_direction(trend["verdict"]),
                    direction=direction(trend["verdict"]),
                    pairs=_significant(pairs, lambda row: f"{row['other']} {MINUS} {row['level']}"),
                    reach=number(max(reach), 2) if reach else DASH,
                    tasks=_significant(tasks, lambda row: row["task"]),
                )
            )
    return found


def _significant(rows: list[dict[str, Any]], name: Callable[[dict[str, Any]], str]) -> str:
    chosen = [f"{name(row)} {number(row['mean'], 2, sign=True)}" for row in rows if direction(row["verdict"])]
    return ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in chosen) or f"none of {len(rows)}"


def in_prose(label: str) -> str:
    """A metric's label for a list in a sentence: ``retention, other tasks`` has a comma of its own."""
    head, comma, rest = label.partition(", ")
    return f"{head} ({rest})" if comma else head
