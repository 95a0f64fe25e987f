"""The report's full tables: rows of text, each under its own column name."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from worldwidth.comparison.export import compute_rows, difference_rows, score_rows, trend_rows
from worldwidth.comparison.primary_text import (
    contrast_rows,
    near_equal_lines,
    pair_rows,
    remarks,
    sensitivity_rows,
    standing,
)
from worldwidth.comparison.tables import Comparison, records
from worldwidth.comparison.transfer_tables import (
    Row,
    divergence_rows,
    efficiency_rows,
    giver_rows,
    pattern_rows,
    pattern_words,
)
from worldwidth.core.text import count
from worldwidth.evaluation.scores import DIVERGENT
from worldwidth.report.sentences import arm_titles


@dataclass(frozen=True)
class Detail:
    """What one ``<details>`` holds."""

    title: str
    lines: list[str] = field(default_factory=list)
    figure: str = ""
    """The file, beside the tables, that shows them."""
    tables: list[tuple[str, list[Row]]] = field(default_factory=list)
    """Captions and rows."""


def details(comparison: Comparison) -> list[Detail]:
    """Those that the runs allow."""
    return [detail for detail in _all(comparison) if detail.tables]


def _all(comparison: Comparison) -> Iterator[Detail]:
    yield Detail(
        "What was declared",
        [standing(comparison), *remarks(comparison)],
        tables=[
            (caption, found)
            for caption, rows in (
                ("The declared contrast", contrast_rows),
                ("Every two of them, with Tukey's intervals", pair_rows),
                ("The same contrast by other estimators", sensitivity_rows),
            )
            if (found := list(rows(comparison)))
        ],
    )
    yield Detail("Compute", tables=_by_arm(comparison, compute_rows, "What each of them gets; ratios are to the first"))
    yield Detail("All means", tables=_by_arm(comparison, score_rows, "Means over seeds, ± half of the 95 % interval"))
    suspect = [line for arm in comparison.arms for line in near_equal_lines(comparison, arm)]
    yield Detail(
        "All differences and trends",
        ["*: significant after Holm.", *(f"Suspiciously equal: {line}." for line in suspect)],
        tables=[
            *_by_arm(comparison, difference_rows, "Differences, ± half of the 95 % interval"),
            *_by_arm(comparison, trend_rows, "Rise of a line over a doubling"),
        ],
    )
    if not comparison.divergence.empty:
        yield Detail(
            f"Does {DIVERGENT} harm what is learned beside it?",
            ["A pair's gain: its score minus that of the better of its two single-task models."],
            "divergence",
            _by_arm(comparison, divergence_rows, "Gain"),
        )
    if not comparison.givers.empty:
        yield Detail(
            "What tasks give and take",
            ["A task gives what its model scores in the others, and takes what the others' models score in it."],
            "givers",
            _by_arm(comparison, giver_rows, "Transfer"),
        )
    if not comparison.patterns.empty:
        titles = arm_titles(comparison)
        words = [
            f"{titles[arm]}: {line}" if titles[arm] else line
            for arm in comparison.arms
            if records(comparison.patterns, arm=arm)
            for line in pattern_words(comparison, arm)
        ]
        yield Detail(
            f"Do patterns of transfer go with the {comparison.axis.noun}?",
            ["A pattern: what each task takes from which other one, standardised by evaluated task.", *words],
            tables=_by_arm(comparison, pattern_rows, "Mean correlation of two runs"),
        )
    if not comparison.efficiency.empty:
        yield Detail(
            "What scores cost",
            ["On the frontier (P: parameters, F: FLOPs) no other point has at least its score for at most its cost."],
            "efficiency",
            [("Costs, scores and frontiers", list(efficiency_rows(comparison)))],
        )


def _by_arm(
    comparison: Comparison, rows: Callable[[Comparison, str], Iterable[Row]], caption: str
) -> list[tuple[str, list[Row]]]:
    """The rows of every arm that has some, with a caption."""
    titles = arm_titles(comparison)
    found = {arm: list(rows(comparison, arm)) for arm in comparison.arms}
    return [(f"{caption}, {titles[arm]}" if titles[arm] else caption, own) for arm, own in found.items() if own]


def size_rows(comparison: Comparison) -> list[Row]:
    """The archs: what differs between them by construction."""
    found = []
    for name in comparison.archs:
        arch, run = comparison.of_archs[name].sizes, records(comparison.runs, arch=name)[0]
        found.append(
            {
                "arch": name,
                "layers": count(arch.num_hidden_layers),
                "hidden size": count(arch.hidden_size),
                "feed-forward size": count(arch.intermediate_size),
                "attention heads": count(arch.num_attention_heads),
                "parameters": count(run["parameters"]),
            }
        )
    return found


def experiment_rows(comparison: Comparison, provenance: dict[str, Any]) -> list[Row]:
    """The experiments with what is known about each."""
    found = []
    for experiment in provenance.get("experiments", []):
        runs = records(comparison.runs, experiment=experiment["name"])
        run = runs[0] if runs else {}
        found.append(
            {
                "experiment": str(experiment["name"]),
                "commit": str(experiment["commit"])[:12],
                "run": _run(comparison, run) if run else "",
                "cells measurable": f"{run['cells_measurable']} of {run['cells']}" if run else "",
                "missing models": run["missing_models"].replace(" ", ", ") if run else "",
            }
        )
    return found


def _run(comparison: Comparison, run: dict[str, Any]) -> str:
    """What an experiment is a run of."""
    draw = f", Atlantis {run['atlantis_seed']}" if comparison.runs["atlantis_seed"].nunique() > 1 else ""
    return f"{run['level']}, {run['arm']}, seed {run['seed']}{draw}"
