"""The report's tables: rows and cells of a comparison as text, with the classes that colour them."""

import itertools
from dataclasses import dataclass
from typing import Any

from worldwidth.comparison.tables import Comparison, Metric
from worldwidth.evaluation.scores import DIFFERENCE, matrix_names, matrix_of
from worldwidth.report.format import (
    MINUS,
    count,
    flops,
    in_prose,
    interval,
    is_number,
    line_note,
    number,
    p_value,
    plural,
    records,
    times,
)


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
    """One tested number: a trend, or a difference of two widths."""

    metric: str
    widths: str
    value: str
    interval: str
    """Over seeds; with one seed, what test lines add."""
    n: int
    p: str
    p_holm: str
    verdict: str
    direction: int
    """1 told to be higher, -1 lower, 0 not told."""


@dataclass(frozen=True)
class Heading:
    """Metrics under one heading; no sub-headings where it is one metric."""

    label: str
    members: tuple[str, ...]


def archs_of(comparison: Comparison, budget: str) -> list[str]:
    """The widths that have runs under a budget, narrow to wide."""
    there = {row["arch"] for row in records(comparison.runs, budget=budget)}
    return [arch for arch in comparison.archs if arch in there]


def direction(verdict: str) -> int:
    """Which way a verdict says that a number differs from 0; 0 is not told."""
    return 1 if verdict.endswith(" higher") else -1 if verdict.endswith(" lower") else 0


def headings(metrics: dict[str, Metric]) -> list[Heading]:
    """The metrics' labels split into what those of one matrix share and what tells them apart."""
    by_matrix: dict[str, list[str]] = {}
    for metric in metrics.values():
        by_matrix.setdefault(metric.matrix, []).append(metric.label.replace(" - ", f" {MINUS} "))
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
    """The widths: what differs between them by construction."""
    found = []
    for name in comparison.archs:
        arch, run = comparison.settings.selected.archs[name], records(comparison.runs, arch=name)[0]
        found.append(
            {
                "arch": name,
                "hidden_size": count(arch.hidden_size),
                "intermediate_size": count(arch.intermediate_size),
                "heads": count(arch.num_attention_heads),
                "head_size": count(arch.hidden_size // arch.num_attention_heads),
                "parameters": count(run["parameters"]),
            }
        )
    return found


def compute_means(comparison: Comparison, budget: str) -> dict[str, dict[str, float]]:
    """arch -> epochs, steps, tokens, FLOPs, averaged over seeds (they differ by a few tokens at most)."""
    columns = ["epochs", "steps", "tokens", "flops", "finetuning_steps", "finetuning_tokens", "finetuning_flops"]
    columns += ["hidden_size", "parameters"]
    found = {}
    for arch in archs_of(comparison, budget):
        rows = records(comparison.runs, budget=budget, arch=arch)
        found[arch] = {column: sum(float(row[column]) for row in rows) / len(rows) for column in columns}
    return found


def compute_rows(comparison: Comparison, budget: str) -> list[dict[str, str]]:
    """The same as text, with ratios to the narrowest."""
    means = compute_means(comparison, budget)
    narrowest = next(iter(means.values()))
    return [
        {
            "arch": arch,
            "epochs": f"{of['epochs']:.4g}",
            "steps": count(of["steps"]),
            "tokens": count(of["tokens"]),
            "flops": flops(of["flops"]),
            "flops_ratio": times(of["flops"] / narrowest["flops"]),
            "finetuning_tokens": count(of["finetuning_tokens"]),
            "finetuning_flops": flops(of["finetuning_flops"]),
            "finetuning_ratio": times(of["finetuning_flops"] / narrowest["finetuning_flops"]),
        }
        for arch, of in means.items()
    ]


def width_rows(comparison: Comparison, budget: str, metrics: dict[str, Metric]) -> list[tuple[str, int, list[Stat]]]:
    """arch, its runs, and one number for each of ``metrics``."""
    found = []
    for arch in archs_of(comparison, budget):
        runs = len(records(comparison.runs, budget=budget, arch=arch))
        by_metric = {row["metric"]: row for row in records(comparison.widths, budget=budget, arch=arch)}
        stats = [_stat(comparison, by_metric[name], metric, runs) for name, metric in metrics.items()]
        found.append((arch, runs, stats))
    return found


def _stat(comparison: Comparison, row: dict[str, Any], metric: Metric, runs: int) -> Stat:
    possible, found = _possible_cells(comparison, metric), interval(row)
    notes = []
    if line_note(row, 3):
        notes.append(line_note(row, 3))
    if row["cells"] < possible:
        notes.append(f"{row['cells']} of {possible} cells")
    if row["n"] < runs:
        notes.append(f"n = {row['n']}")
    value = number(row["mean"])
    hint = f"{row['arch']}, {in_prose(metric.label)}: {value}"
    hint += f", 95 % interval {found}" if found else ""
    hint += f", standard deviation over seeds {number(row['sd'])}" if is_number(row["sd"]) else ""
    return Stat(value, found, tuple(notes), f"{hint}; n = {row['n']}, {plural(row['cells'], 'cell')}")


def _possible_cells(comparison: Comparison, metric: Metric) -> int:
    settings = comparison.settings
    if metric.trained is None:
        return len(settings.tasks)
    models = models_of(comparison, metric.matrix)
    trained = sum(len(settings.finetunes[model]) for model in models)
    return trained if metric.trained else len(models) * len(settings.tasks) - trained


def models_of(comparison: Comparison, name: str) -> list[str]:
    """The fine-tuned models that are rows of a matrix."""
    finetunes = comparison.settings.finetunes
    if name == DIFFERENCE:
        return [model for model, trained in finetunes.items() if len(trained) > 1]
    of_study = name in matrix_names(finetunes)
    return [model for model in finetunes if not of_study or matrix_of(model) == name]


def trend_tests(comparison: Comparison, budget: str) -> list[Test]:
    """The slopes per doubling of the width."""
    return [_test(comparison, row, row["archs"], row["slope"]) for row in records(comparison.trends, budget=budget)]


def pair_tests(comparison: Comparison, budget: str) -> list[Test]:
    """The differences of every two widths, metric by metric."""
    rows = [row for name in comparison.metrics for row in records(comparison.differences, budget=budget, metric=name)]
    return [_test(comparison, row, f"{row['other']} {MINUS} {row['arch']}", row["mean"]) for row in rows]


def _test(comparison: Comparison, row: dict[str, Any], widths: str, value: Any) -> Test:
    return Test(
        metric=in_prose(comparison.metrics[row["metric"]].label),
        widths=widths,
        value=number(value, sign=True),
        interval=interval(row) or line_note(row, 3),
        n=row["n"],
        p=p_value(row["p"]),
        p_holm=p_value(row["p_holm"]),
        verdict=row["verdict"],
        direction=direction(row["verdict"]),
    )
