"""What a score costs: against parameters and against all training FLOPs, and which points no other one beats.

A point is on the frontier where no other has a score at least as high for at most its cost (Pareto).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from worldwidth.comparison import labels
from worldwidth.comparison.metrics import Metric

PARAMETERS, FLOPS = "parameters", "total_flops"
COSTS = {PARAMETERS: labels.PARAMETERS, FLOPS: labels.TOTAL_FLOPS}
"""Column -> what it is called."""
_METRICS = ("ftwb1_trained", "ftwb1_transfer_minus_control", "skill_trained", "skill_transfer")
_WITHOUT_CONTROL = {"ftwb1_transfer_minus_control": "ftwb1_transfer"}


def scores_shown(metrics: dict[str, Metric]) -> list[str]:
    """The scores that are set against their cost; transfer itself where there is no control to subtract."""
    wanted = (name if name in metrics else _WITHOUT_CONTROL.get(name, name) for name in _METRICS)
    return [name for name in wanted if name in metrics]


def efficiency_table(runs: pd.DataFrame, means: pd.DataFrame, metrics: dict[str, Metric]) -> pd.DataFrame:
    """One row per score, cost and point (an arm and level): at, mean, low, high, and whether it is on the frontier.

    ``replicates`` are those that all points have, and ``frontier_replicates`` in how many of them the point is on the
    frontier of that replicate alone.

    Args:
        runs: one row a run, with sizes, FLOPs and every metric.
        means: one row per arm, level and metric.
    """
    totals = runs.assign(total_flops=runs["flops"] + runs["finetuning_flops"])
    costs = totals.groupby(["arm", "level"], sort=False)[list(COSTS)].mean().reset_index()
    points = means.merge(costs, on=["arm", "level"])
    rows = [
        row
        for metric in scores_shown(metrics)
        for cost in COSTS
        for row in _rows(points[points["metric"] == metric], totals, metric, cost)
    ]
    return pd.DataFrame(rows)


def _rows(points: pd.DataFrame, runs: pd.DataFrame, metric: str, cost: str) -> Iterator[dict[str, Any]]:
    rows = points[points["n"] > 0].to_dict("records")
    best = frontier([row[cost] for row in rows], [row["mean"] for row in rows])
    shared, often = _by_replicate(runs.dropna(subset=metric), metric, cost)
    for row, is_best in zip(rows, best, strict=True):
        yield {
            "metric": metric,
            "cost": cost,
            "arm": row["arm"],
            "level": row["level"],
            "at": row[cost],
            **{column: row[column] for column in ("n", "mean", "low", "high")},
            "frontier": is_best,
            "replicates": shared,
            "frontier_replicates": often.get((row["arm"], row["level"]), 0),
        }


def _by_replicate(runs: pd.DataFrame, metric: str, cost: str) -> tuple[int, dict[tuple[str, str], int]]:
    """How many replicates all points have, and in how many of them each point is on the frontier."""
    places = len(runs[["arm", "level"]].drop_duplicates())
    often: dict[tuple[str, str], int] = {}
    shared = 0
    for _, own in runs.groupby(["seed", "atlantis_seed"]):
        if len(own) == places:
            shared += 1
            best = frontier(list(own[cost]), list(own[metric]))
            for arm, level, is_best in zip(own["arm"], own["level"], best, strict=True):
                often[arm, level] = often.get((arm, level), 0) + is_best
    return shared, often


def frontier(costs: Sequence[float], scores: Sequence[float]) -> list[bool]:
    """Whether no other one has at least its score for at most its cost and is better in one of the two."""
    points = list(zip(costs, scores, strict=True))
    return [not any(c <= cost and s >= score and (c < cost or s > score) for c, s in points) for cost, score in points]
