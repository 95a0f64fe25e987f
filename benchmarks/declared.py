"""What docs/study.md declares besides the primary result, computed from committed tables.

    python benchmarks/declared.py

Reads results/comparison/study (all arms), results/comparison/tuned (arm b with pairs of tasks) and
results/comparison/characters (scale desk, where arm is the recipe); prints its tests and writes
docs/results/declared.csv: question, arm, what, n, value, low, high, p, p_adjusted. Wants no runs.
"""

import sys
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from worldwidth.comparison.blocks import Replicates, by_blocks, linear_weights, tukey
from worldwidth.comparison.efficiency import FLOPS, frontier
from worldwidth.comparison.statistics import Estimate, estimate, holm

ROOT = Path(__file__).parents[1]
TABLES, OUT = ROOT / "results/comparison", ROOT / "docs/results/declared.csv"
ARMS = {"a": "published", "b": "tuned", "c": "equal_pretraining", "d": "equal_finetuning", "e": "mup"}
"""Letter in docs/study.md -> sweep."""
RECIPES = {"default": "epochs", "published": "epochs, published"}
"""Recipe of the sweep characters -> its arm in results/comparison/characters."""
WIDTHS = ["narrow", "base", "wide", "wider"]
SIZES = [16.0, 32.0, 64.0, 128.0]
SECONDARY = ("ftwb1_transfer_minus_control", "skill_transfer_minus_control")
FIGURES = ("value", "low", "high", "p", "p_adjusted")
Row = dict[str, Any]


def table(comparison: str, name: str) -> pd.DataFrame:
    """A committed table."""
    return pd.read_csv(TABLES / comparison / f"{name}.csv")


def replicates(runs: pd.DataFrame, arm: str, metric: str, archs: list[str]) -> Replicates:
    """A metric of the runs of an arm: a row a replicate, a column an arch; replicates that all archs have."""
    own = runs[(runs["arm"] == arm) & runs["level"].isin(archs)]
    wide = own.pivot(index=["seed", "atlantis_seed"], columns="level", values=metric)[archs].dropna()
    seeds, draws = zip(*wide.index, strict=True)
    return Replicates(wide.to_numpy(float), seeds, draws)


def secondary(runs: pd.DataFrame) -> Iterator[Row]:
    """Transfer minus control: the contrast over the widths, Holm over the arms but the published one."""
    for metric in SECONDARY:
        rows = []
        for letter, arm in ARMS.items():
            of_arm = replicates(runs, arm, metric, WIDTHS)
            found = by_blocks(of_arm, linear_weights(SIZES)).found
            what = f"{metric}: rise from narrow to wider"
            rows.append(tested("secondary", letter, what, found))
        judged = [row for row in rows if row["arm"] != "a"]
        for row, p in zip(judged, holm([row["p"] for row in judged]), strict=True):
            row["p_adjusted"] = p
        yield from rows


def depth(runs: pd.DataFrame) -> Iterator[Row]:
    """Wide against deep and against shallow by Tukey over the six archs."""
    archs = [*WIDTHS, "deep", "shallow"]
    for metric in ("skill_trained", *SECONDARY):
        for pair in tukey(replicates(runs, ARMS["b"], metric, archs)):
            one, other = archs[pair.level], archs[pair.other]
            if one == "wide" and other in ("deep", "shallow"):
                yield tested("depth", "b", f"{metric}: {other} minus {one}", pair.found)


def patterns(tests: pd.DataFrame) -> Iterator[Row]:
    """Correlation of FTWB1 matrices between replicates of one arch minus that between archs; of two archs in one
    replicate, beside them."""
    one = tests[(tests["arm"] == ARMS["b"]) & (tests["matrix"] == "ftwb1") & tests["headline"]].iloc[0]
    for name in ("within", "between", "same_replicate", "difference", "ceiling"):
        p = one["p"] if name == "difference" else None
        yield row_of(
            "patterns", "b", f"FTWB1, {one['scores']}, {one['kind']}: {name}", one["replicates"], one[name], p=p
        )


def best(efficiency: pd.DataFrame, runs: pd.DataFrame) -> Iterator[Row]:
    """Archs on the frontier of trained skill over total FLOPs, and what Tukey says of neighbours there."""
    for letter in "bcd":
        arm = ARMS[letter]
        own = efficiency[
            (efficiency["arm"] == arm) & (efficiency["metric"] == "skill_trained") & (efficiency["cost"] == FLOPS)
        ].sort_values("at")
        on_it = own[frontier(list(own["at"]), list(own["mean"]))]  # of this arm alone; the table's is over all arms
        for _, point in on_it.iterrows():
            what = f"on the frontier: {point['level']} at {point['at']:.3g} FLOPs"
            yield row_of("best", letter, what, point["n"], point["mean"], point["low"], point["high"])
        levels = [str(level) for level in own["level"]]  # by cost, as the pairs are
        for pair in tukey(replicates(runs, arm, "skill_trained", levels)):
            one, other = levels[pair.level], levels[pair.other]
            if (one, other) in pairwise(on_it["level"]):
                yield tested("best", letter, f"{other} minus {one}", pair.found)


def maps(probes: pd.DataFrame, givers: pd.DataFrame) -> Iterator[Row]:
    """Spearman's correlation of the error of Atlantis on a map with transfer minus control, over single-task models."""
    for letter in "be":
        own = probes[
            (probes["arm"] == ARMS[letter]) & (probes["prompt"] == "all") & probes["model"].str.startswith("ftwb1-")
        ]
        last = own[own["layer"] == own.groupby(["level", "model"])["layer"].transform("max")]
        last = last[last["step"] == last.groupby(["experiment", "model"])["step"].transform("max")]
        errors = last.groupby(["level", "model"], sort=False)["atlantis_error"].mean()
        given = givers[(givers["arm"] == ARMS[letter]) & (givers["matrix"] == "ftwb1") & (givers["role"] == "giver")]
        for level in dict.fromkeys(own["level"]):
            of_level = given[given["level"] == level]["mean"].to_numpy()
            found = stats.spearmanr(errors[level].to_numpy(), of_level)
            yield row_of(
                "maps",
                letter,
                f"{level}: Spearman's, error and transfer",
                len(of_level),
                found.statistic,
                p=found.pvalue,
            )


def distance(givers: pd.DataFrame, arms: dict[str, str], question: str = "distance") -> Iterator[Row]:
    """What distance gives, its rank from below among the seven tasks, and the task next to it."""
    for letter, arm in arms.items():
        own = givers[(givers["arm"] == arm) & (givers["matrix"] == "ftwb1") & (givers["role"] == "giver")]
        for level in dict.fromkeys(own["level"]):
            of_level = own[own["level"] == level].set_index("task")
            rank = int(of_level["mean"].rank()["distance"])
            others = of_level["mean"].drop("distance").sort_values()
            given = of_level.loc["distance"]
            least = f"{others.index[0]} {others.iloc[0]:.3f}"
            what = f"{level}: distance gives, rank {rank} of {len(of_level)}; least of the others {least}"
            yield row_of(question, letter, what, given["n"], given["mean"], given["low"], given["high"])


def another_scale(runs: pd.DataFrame, givers: pd.DataFrame) -> Iterator[Row]:
    """The questions of the scale desk: the rise with the width by recipe, transfer, what distance gives."""
    rises = []
    for recipe, arm in RECIPES.items():
        trained = replicates(runs, arm, "skill_trained", ["narrow", "wide"]).values
        rises.append(trained[:, 1] - trained[:, 0])
        yield tested("desk", recipe, "skill_trained: wide minus narrow", estimate(list(rises[-1])))
    tuned, published = rises
    yield tested(
        "desk", "published minus default", "skill_trained: wide minus narrow", estimate(list(published - tuned))
    )
    for recipe, arm in RECIPES.items():
        for metric, arch in product(SECONDARY, ("narrow", "wide", "deep")):
            transfer = replicates(runs, arm, metric, [arch]).values[:, 0]
            yield tested("desk", recipe, f"{metric}: {arch}", estimate(list(transfer)))
    yield from distance(givers, RECIPES, "desk")


def pairs(divergence: pd.DataFrame) -> Iterator[Row]:
    """Gains of pairs of tasks over the better of their two single tasks, with and without distance."""
    for _, row in divergence[divergence["tasks"] == "all"].iterrows():
        what = f"{row['level']}: {row['pairs']}"
        yield row_of("pairs", "b", what, row["n"], row["mean"], row["low"], row["high"], row["p"])


def row_of(
    question: str, arm: str, what: str, n: int, value: Any, low: Any = None, high: Any = None, p: Any = None
) -> Row:
    """A row of the table; intervals are 95 %."""
    place = {"question": question, "arm": arm, "what": what, "n": int(n)}
    return {**place, "value": value, "low": low, "high": high, "p": p, "p_adjusted": None}


def tested(question: str, arm: str, what: str, found: Estimate) -> Row:
    """The row of a contrast or of a pair."""
    return row_of(question, arm, what, found.n, found.mean, found.low, found.high, found.p)


def main() -> None:
    """Compute, print, write."""
    runs, givers, probes = (table("study", name) for name in ("runs", "givers", "representations"))
    rows = [
        *secondary(runs),
        *depth(runs),
        *patterns(table("study", "pattern_tests")),
        *best(table("study", "efficiency"), runs),
        *maps(probes, givers),
        *distance(givers, ARMS),
        *pairs(table("tuned", "divergence")),
        *another_scale(table("characters", "runs"), table("characters", "givers")),
    ]
    found = pd.DataFrame(rows)
    found[list(FIGURES)] = found[list(FIGURES)].astype(float)
    found.to_csv(OUT, index=False, float_format="%.4g")
    print(found.to_string(index=False, float_format=lambda x: f"{x:.3f}", na_rep="", max_colwidth=90), file=sys.stdout)


if __name__ == "__main__":
    main()
