"""The primary result in words and as rows of text: the same in the terminal, in comparison.md and in the report."""

from collections.abc import Iterator
from typing import Any

from worldwidth.comparison.axes import ARCH
from worldwidth.comparison.blocks import BLOCKS, SLOPES
from worldwidth.comparison.primary import PAIR, SENSITIVITY, conclusion, contrast_levels, doublings
from worldwidth.comparison.statistics import direction
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import DASH, MINUS, count, is_number, number, p_value, plus_minus

UNEQUAL = 0.01
"""p of Bartlett's test below which it is said that the levels scatter differently."""


def heading(comparison: Comparison) -> str:
    """What is above the result: whether it decides, and over what it is."""
    if comparison.primary.empty:
        return "No primary result"
    decides = comparison.declared is not None and comparison.declared.is_before
    metric = comparison.metrics[comparison.primary["metric"].iloc[0]]
    return f"{'Primary result' if decides else 'Declared analysis, exploratory here'}: {metric.label}"


def standing(comparison: Comparison) -> str:
    """What was declared and since when, in a sentence; or why there is no primary result."""
    plan = comparison.declared
    if plan is None:
        return "params.yaml declares no analysis: everything here is exploratory."
    if comparison.primary.empty and plan.analysis.primary in comparison.metrics:
        return f"The declared analysis, of {plan.analysis.primary}, needs replicates: everything here is exploratory."
    if comparison.primary.empty:
        return f"The declared metric, {plan.analysis.primary}, is none of these runs: everything here is exploratory."
    if not contrasts(comparison):
        return f"The declared contrast is not defined over these values of {plan.by}: its pairs alone; {plan.said}."
    what = {
        "linear": f"rise of a line over log2 of {_sizes(comparison)}, from the smallest to the largest",
        "ends": f"the last {comparison.axis.noun} minus the first",
    }[plan.analysis.contrast]
    return f"{what[:1].upper()}{what[1:]}; {plan.said}."


def contrasts(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows that decide, one an arm."""
    decided = comparison.primary[comparison.primary["estimator"] == BLOCKS] if len(comparison.primary) else None
    return [] if decided is None else [row for row in records(decided) if row["role"] != PAIR]


def contrast_rows(comparison: Comparison) -> Iterator[dict[str, str]]:
    """The declared contrast, an arm a row."""
    for row in contrasts(comparison):
        yield {
            "arm": row["arm"],
            "contrast": f"{row['other']} {MINUS} {row['level']}",
            "difference": plus_minus(row["mean"], row["low"], row["high"], 3, sign=True),
            **({"a doubling": _a_doubling(comparison, row)} if row["contrast"] == "linear" else {}),
            "sd of a run": number(row["sd"]),
            "n": count(row["n"]),
            "p (Holm)" if len(comparison.arms) > 1 else "p": p_value(row["p_adjusted"]),
            **_short_verdict(row),
        }


def _short_verdict(row: dict[str, Any]) -> dict[str, str]:
    """The verdict in columns: in a sentence it is too wide for a table."""
    within = "yes" if row["within_bound"] else "no"
    return {
        "verdict": row["verdict"].partition(";")[0],
        "excluded above": number(row["excluded"]),
        f"within {row['equivalence']:g}": within if is_number(row["excluded"]) else DASH,
    }


def pair_rows(comparison: Comparison) -> Iterator[dict[str, str]]:
    """Every two levels, by Tukey."""
    for row in records(comparison.primary, role=PAIR):
        yield {
            "arm": row["arm"],
            "pair": f"{row['other']} {MINUS} {row['level']}",
            "difference": plus_minus(row["mean"], row["low"], row["high"], 3, sign=True),
            "p (Tukey)": p_value(row["p_adjusted"]),
            **_short_verdict(row),
        }


def sensitivity_rows(comparison: Comparison) -> Iterator[dict[str, str]]:
    """The same contrast by the other estimators."""
    for row in records(comparison.primary, role=SENSITIVITY):
        yield {
            "arm": row["arm"],
            "estimator": row["estimator"],
            "difference": plus_minus(row["mean"], row["low"], row["high"], 3, sign=True),
            "df": count(row["df"]),
            "p": p_value(row["p"]),
            "note": row["note"],
        }


def remarks(comparison: Comparison) -> list[str]:
    """The verdict of every arm in words, and what has to be known to trust it."""
    lines = []
    for row in contrasts(comparison):
        value = plus_minus(row["mean"], row["low"], row["high"], 3, sign=True)
        lines.append(f"{row['arm']}, {row['other']} {MINUS} {row['level']}, {value}: {conclusion(row)}")
        if is_number(row["bartlett_p"]) and row["bartlett_p"] < UNEQUAL:
            p = p_value(row["bartlett_p"])
            lines.append(
                f"{row['arm']}: the levels scatter differently (Bartlett's test, p {p}); intervals that pool them can "
                f"then cover too little: trust the one that is made {SLOPES}"
            )
    return lines


def near_equal_lines(comparison: Comparison, arm: str) -> list[str]:
    """The differences whose replicates agree better than they can, and what holds in their place."""
    lines = []
    for row in records(comparison.differences, arm=arm, near_equal=True):
        instead = plus_minus(row["mean"], row["pooled_low"], row["pooled_high"], 3, sign=True)
        star = ", and is called significant" if direction(row["verdict"]) else ""
        lines.append(
            f"{row['other']} {MINUS} {row['level']}, {comparison.metrics[row['metric']].label}: {row['n']} near-equal "
            f"differences (sd {row['sd']:.2g}{star}); pooled sd is {row['pooled_sd']:.2g}, and with it {instead}"
        )
    return lines


def _a_doubling(comparison: Comparison, row: dict[str, Any]) -> str:
    there = comparison.levels(row["arm"])
    times = doublings(comparison.axis, contrast_levels(comparison.axis, there, "linear"))
    return number(row["mean"] / times, sign=True) if is_number(row["mean"]) else number(None)


def _sizes(comparison: Comparison) -> str:
    return "hidden_size" if comparison.axis.key == ARCH else comparison.axis.key
