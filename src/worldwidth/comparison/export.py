"""The comparison as files and as text: CSV tables for machines, one Markdown table for people and the terminal."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from worldwidth.comparison.axes import ARCH, BUDGET, Axis
from worldwidth.comparison.primary_text import (
    contrast_rows,
    heading,
    near_equal_lines,
    pair_rows,
    remarks,
    sensitivity_rows,
    standing,
)
from worldwidth.comparison.statistics import direction
from worldwidth.comparison.tables import Comparison, records
from worldwidth.comparison.transfer_tables import (
    divergence_rows,
    efficiency_rows,
    giver_rows,
    pattern_rows,
    pattern_words,
    transfer_reading,
)
from worldwidth.core.files import write_text
from worldwidth.core.text import count, in_csv, in_markdown, p_value, plus_minus, short, times
from worldwidth.evaluation.scores import DIVERGENT

COMPARISONS = Path("results/comparison")
"""Of every comparison its own folder."""
TABLES = (
    "primary", "runs", "means", "cells", "differences", "tasks", "cell_differences", "trends", "curves", "divergence",
    "givers", "patterns", "pattern_tests", "efficiency",
)  # fmt: skip

_DIGITS = 5  # significant, in the CSV files: more than any of these numbers has


def write_tables(comparison: Comparison, folder: Path) -> list[Path]:
    """Write every table as CSV."""
    return write_each(folder, {name: getattr(comparison, name) for name in TABLES})


def write_markdown(comparison: Comparison, folder: Path) -> Path:
    """Write comparison.md."""
    path = folder / "comparison.md"
    write_text(path, markdown(comparison))
    return path


def write_each(folder: Path, tables: dict[str, pd.DataFrame]) -> list[Path]:
    """Write tables as CSV under their names, numbers with few digits; remove the file of one that is empty."""
    written: list[Path] = []
    for name, table in tables.items():
        path = folder / f"{name}.csv"
        if table.empty:
            path.unlink(missing_ok=True)  # of an earlier comparison that had more runs
            continue
        rounded = table.apply(lambda column: column.map(_cell) if column.dtype.kind in "fO" else column)
        write_text(path, rounded.to_csv(index=False, lineterminator="\n"))
        written.append(path)
    return written


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return in_csv(value)
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    return float(f"{value:.{_DIGITS}g}")


def title_of(comparison: Comparison) -> str:
    """What is compared, in a heading."""
    axis, scale = comparison.axis, comparison.settings.scale
    whats = {"width": "Widths", "architecture": "Architectures"}.get(axis.noun, f"Values of {axis.key}")
    return f"{whats} compared, scale {scale}"


def doubled(axis: Axis) -> str:
    """What a trend is per doubling of."""
    return "hidden_size" if axis.key == ARCH else axis.key


def markdown(comparison: Comparison) -> str:
    """The comparison in Markdown, no line over 125 characters in the tables of scores of four widths."""
    lines = [f"# {title_of(comparison)}", "", *_primary(comparison)]
    for arm in comparison.arms:
        lines += [f"## {arm_title(comparison, arm)}", "", *table_of(compute_rows(comparison, arm)), ""]
        lines += [*table_of(score_rows(comparison, arm)), ""]
        for title, rows in (
            ("Differences:", difference_rows(comparison, arm)),
            (f"Trend per doubling of {doubled(comparison.axis)}:", trend_rows(comparison, arm)),
            (f"Gain of pairs with {DIVERGENT} and without it:", divergence_rows(comparison, arm)),
            ("What tasks give and take:", giver_rows(comparison, arm)),
            ("Correlation of transfer patterns:", pattern_rows(comparison, arm)),
        ):
            found = list(rows)
            lines += [title, "", *table_of(found), ""] if found else []
        lines += [line for words in pattern_words(comparison, arm) for line in (words, "")]
        if suspect := near_equal_lines(comparison, arm):
            lines += ["Suspiciously equal:", "", *(f"- {line}" for line in suspect), ""]
    if frontiers := list(efficiency_rows(comparison)):
        lines += ["## Efficiency", "", *table_of(frontiers), ""]
    return "\n".join([*lines, *(f"- {line}" for line in reading(comparison))]) + "\n"


def _primary(comparison: Comparison) -> list[str]:
    """The declared analysis, which comes first, and what all else is."""
    lines = [f"## {heading(comparison)}", "", standing(comparison), ""]
    for title, rows in (
        ("", contrast_rows(comparison)),
        ("Its pairs, with Tukey's intervals:", pair_rows(comparison)),
        ("The same contrast by other estimators:", sensitivity_rows(comparison)),
    ):
        found = list(rows)
        lines += [*([title, ""] if title else []), *table_of(found), ""] if found else []
    lines += [f"- {line}" for line in remarks(comparison)] + [""] * bool(remarks(comparison))
    rest = "Everything below is exploratory: no test there was declared as the one that decides."
    return [*lines, *([] if comparison.primary.empty else [rest, ""])]


def arm_title(comparison: Comparison, arm: str) -> str:
    """An arm in a heading."""
    is_budget = [axis.key for axis in comparison.design.within] == [BUDGET]
    return f"Budget: {arm}" if is_budget else f"Arm: {arm}"


def reading(comparison: Comparison) -> list[str]:
    """What the numbers are, and which runs are incomplete, in a few lines."""
    seeds, draws = (sorted(set(comparison.runs[column])) for column in ("seed", "atlantis_seed"))
    world = f"draws of Atlantis {_listed(draws)}" if len(draws) > 1 else "the world is the same"
    lines = [
        "mean ± half of the 95 % interval (Student's t over seeds); no ±: one seed, no interval; n.m.: not measurable",
        f"seeds {_listed(seeds)}: they set initialisation and batch order; {world}",
        "differences: paired by seed and test line; *: significant, p < 0.05 after Holm over the pairs",
        "trends and the primary contrast: analysis of variance with replicates as blocks (docs/statistics.md)",
        "FLOPs: 6 x parameters x tokens; ratio: to those of the first",
        *transfer_reading(comparison),
    ]
    if doubled(comparison.axis) == "hidden_size" and (left_out := _of_other_depth(comparison)):
        lines.append(f"trend: over the archs of one depth, without {_listed(left_out)}")
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


def _listed(parts: list[Any]) -> str:
    return ", ".join(map(str, parts))


def _of_other_depth(comparison: Comparison) -> list[str]:
    return [level for level in comparison.axis.levels if level not in comparison.axis.sizes]


def compute_rows(comparison: Comparison, arm: str) -> Iterator[dict[str, str]]:
    """What each level cost in an arm."""
    runs = comparison.runs[comparison.runs["arm"] == arm]
    first = runs.iloc[0]
    for level, of_level in runs.groupby("level", sort=False):
        run = of_level.iloc[0]
        yield {
            heading_of(comparison): str(level),
            "hidden_size": count(run["hidden_size"]),
            **({"layers": count(run["num_hidden_layers"])} if comparison.axis.noun == "architecture" else {}),
            "parameters": count(run["parameters"]),
            "epochs": f"{run['epochs']:.4g}",
            "steps": count(run["steps"]),
            "tokens": short(run["tokens"]),
            "FLOPs": short(run["flops"]),
            "ratio": times(run["flops"], first["flops"]),
            "tuning FLOPs": short(run["finetuning_flops"]),
            "ratio ": times(run["finetuning_flops"], first["finetuning_flops"]),
            "seeds": count(len(of_level)),
        }


def heading_of(comparison: Comparison) -> str:
    """The heading of the column of levels: the axis without the part of the scale that it is in."""
    return comparison.axis.key.rpartition(".")[2]


def score_rows(comparison: Comparison, arm: str) -> Iterator[dict[str, str]]:
    """Metrics as rows, levels as columns."""
    for metric in comparison.metrics:
        rows = records(comparison.means, arm=arm, metric=metric)
        yield {"metric": comparison.metrics[metric].label, **{row["level"]: _with_interval(row) for row in rows}}


def difference_rows(comparison: Comparison, arm: str) -> Iterator[dict[str, str]]:
    """Metrics as rows, pairs of levels as columns."""
    between = " - " if comparison.axis.is_quantitative else "-"
    for metric in comparison.metrics:
        rows = records(comparison.differences, arm=arm, metric=metric)
        if rows:
            columns = {f"{row['other']}{between}{row['level']}": _difference(row) for row in rows}
            yield {"metric": comparison.metrics[metric].label, **columns}


def _difference(row: dict[str, Any]) -> str:
    return _with_interval(row, sign=True) + ("*" if direction(row["verdict"]) else "")


def trend_rows(comparison: Comparison, arm: str) -> Iterator[dict[str, str]]:
    """Metrics as rows: slope, p and verdict."""
    for row in records(comparison.trends, arm=arm):
        yield {
            "metric": comparison.metrics[row["metric"]].label,
            "seeds": count(row["n"]),
            "slope": plus_minus(row["slope"], row["low"], row["high"], sign=True),
            "p (Holm)": p_value(row["p_holm"]),
            "verdict": row["verdict"],
        }


def _with_interval(row: dict[str, Any], sign: bool = False) -> str:
    return plus_minus(row["mean"], row["low"], row["high"], sign=sign)


def table_of(rows: Any) -> list[str]:
    """A Markdown table whose columns are padded, so that it reads as text as well."""
    found = list(rows)
    columns = list(found[0])
    cells = [columns, *([row[column] for column in columns] for row in found)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    padded = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in cells]
    rule = ["-" * width for width in widths]
    return [f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:])]
