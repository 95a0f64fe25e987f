"""The comparison as files and as text: CSV tables for machines, one Markdown table for people and the terminal."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from worldwidth.comparison.statistics import direction
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.files import write_text
from worldwidth.core.text import count, in_csv, in_markdown, p_value, plus_minus, short, times

COMPARISON = Path("results/comparison")
TABLES = ("runs", "widths", "cells", "differences", "tasks", "cell_differences", "trends", "curves")

_SHOWN = {  # the columns of the table of widths; all metrics are in widths.csv
    *(f"ftwb{n}_{block}" for n in range(1, 10) for block in ("trained", "transfer")),
    "difference_trained",
    "retention_other",
    "base_skill",
}
_DIGITS = 5  # significant, in the CSV files: more than any of these numbers has


def write_tables(comparison: Comparison, folder: Path) -> list[Path]:
    """Write every table as CSV, and comparison.md."""
    written: list[Path] = []
    for name in TABLES:
        table: pd.DataFrame = getattr(comparison, name)
        if not table.empty:
            path = folder / f"{name}.csv"
            rounded = table.apply(lambda column: column.map(_cell) if column.dtype.kind in "fO" else column)
            write_text(path, rounded.to_csv(index=False, lineterminator="\n"))
            written.append(path)
        else:
            (folder / f"{name}.csv").unlink(missing_ok=True)  # of an earlier comparison that had more runs
    path = folder / "comparison.md"
    write_text(path, markdown(comparison))
    return [*written, path]


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return in_csv(value)
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    return float(f"{value:.{_DIGITS}g}")


def markdown(comparison: Comparison) -> str:
    """The comparison in Markdown, no line over 120 characters in the tables of four widths."""
    lines = [f"# Widths compared, scale {comparison.settings.scale}", ""]
    for budget in comparison.budgets:
        lines += [f"## Budget: {budget}", "", *table_of(compute_rows(comparison, budget)), ""]
        lines += [*table_of(score_rows(comparison, budget)), ""]
        for title, rows in (
            ("Differences, the wider minus the narrower:", difference_rows(comparison, budget)),
            ("Trend over all widths, per doubling of hidden_size:", trend_rows(comparison, budget)),
        ):
            found = list(rows)
            lines += [title, "", *table_of(found), ""] if found else []
    return "\n".join([*lines, *(f"- {line}" for line in reading(comparison))]) + "\n"


def reading(comparison: Comparison) -> list[str]:
    """What the numbers are, and which runs are incomplete, in a few lines."""
    seeds = ", ".join(map(str, sorted(set(comparison.runs["seed"]))))
    lines = [
        "mean ± half of the 95 % interval (Student's t over seeds); no ±: one seed, no interval; n.m.: not measurable",
        f"seeds {seeds}: they set initialisation and batch order; the world is the same",
        "differences: paired by seed and test line; *: significant, p < 0.05 after Holm over the pairs of widths",
        "FLOPs: 6 x parameters x tokens; ratio: to those of the narrowest",
    ]
    for meaning in dict.fromkeys(metric.meaning for metric in comparison.metrics.values()):
        names = ", ".join(name for name, metric in comparison.metrics.items() if metric.meaning == meaning)
        lines.append(f"{names}: {meaning}")
    for run in comparison.runs.to_dict("records"):
        name = in_markdown(run["experiment"])
        if run["missing_models"]:
            lines.append(f"{name}: no results of {run['missing_models']}")
        if run["cells_measurable"] < run["cells"]:
            lines.append(f"{name}: {run['cells_measurable']} of {run['cells']} cells measurable")
    return lines


def compute_rows(comparison: Comparison, budget: str) -> Iterator[dict[str, str]]:
    """What each width cost under ``budget``."""
    runs = comparison.runs[comparison.runs["budget"] == budget]
    narrowest = runs.iloc[0]
    for arch, of_arch in runs.groupby("arch", sort=False):
        run = of_arch.iloc[0]
        yield {
            "arch": str(arch),
            "hidden_size": count(run["hidden_size"]),
            "parameters": count(run["parameters"]),
            "epochs": f"{run['epochs']:.4g}",
            "steps": count(run["steps"]),
            "tokens": short(run["tokens"]),
            "FLOPs": short(run["flops"]),
            "ratio": times(run["flops"] / narrowest["flops"]),
            "tuning FLOPs": short(run["finetuning_flops"]),
            "ratio ": times(run["finetuning_flops"] / narrowest["finetuning_flops"]),
            "seeds": count(len(of_arch)),
        }


def score_rows(comparison: Comparison, budget: str) -> Iterator[dict[str, str]]:
    """Archs as rows, metrics as columns."""
    widths = comparison.widths[comparison.widths["budget"] == budget]
    for arch, rows in widths.groupby("arch", sort=False):
        shown = {row["metric"]: _with_interval(row) for row in records(rows) if row["metric"] in _SHOWN}
        yield {"arch": str(arch), **{narrow(metric): text for metric, text in shown.items()}}


def difference_rows(comparison: Comparison, budget: str) -> Iterator[dict[str, str]]:
    """Metrics as rows, pairs of widths as columns."""
    for metric in comparison.metrics:
        rows = records(comparison.differences, budget=budget, metric=metric)
        if rows:
            yield {"metric": metric, **{f"{row['other']}-{row['arch']}": _difference(row) for row in rows}}


def _difference(row: dict[str, Any]) -> str:
    return _with_interval(row, sign=True) + ("*" if direction(row["verdict"]) else "")


def trend_rows(comparison: Comparison, budget: str) -> Iterator[dict[str, str]]:
    """Metrics as rows: slope, p and verdict."""
    for row in records(comparison.trends, budget=budget):
        yield {
            "metric": row["metric"],
            "seeds": count(row["n"]),
            "slope": plus_minus(row["slope"], row["low"], row["high"], sign=True),
            "p (Holm)": p_value(row["p_holm"]),
            "verdict": row["verdict"],
        }


def _with_interval(row: dict[str, Any], sign: bool = False) -> str:
    return plus_minus(row["mean"], row["low"], row["high"], sign=sign)


def narrow(metric: str) -> str:
    """A metric's name in a narrow column."""
    return metric.replace("_", " ").replace("difference", "gain").replace("retention other", "retention")


def table_of(rows: Any) -> list[str]:
    """A Markdown table whose columns are padded, so that it reads as text as well."""
    found = list(rows)
    columns = list(found[0])
    cells = [columns, *([row[column] for column in columns] for row in found)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    padded = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in cells]
    rule = ["-" * width for width in widths]
    return [f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:])]
