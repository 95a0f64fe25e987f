"""What base models know of Atlantis when it was there in pre-training: `python benchmarks/ceiling.py`.

Reads the experiments of the sweep `ceiling`, and results/comparison/ceiling/representations.csv. Writes
docs/results/ceiling.csv: level, what, n, mean, low, high. `what` is a task's skill on Atlantis (1 is no error, 0 the
best constant answer), their mean, the mean skill on ordinary cities, or the probe's error of Atlantis in units.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from worldwidth.commands.compare import of_sweep
from worldwidth.comparison.runs import skill
from worldwidth.comparison.statistics import estimate
from worldwidth.core.table import Kind
from worldwidth.dvcio.experiments import Experiment
from worldwidth.settings.load import load
from worldwidth.settings.paths import EVALUATION_TABLE
from worldwidth.tasks import load_task

ROOT = Path(__file__).parents[1]
SWEEP = "ceiling"
PROBES, OUT = ROOT / f"results/comparison/{SWEEP}/representations.csv", ROOT / "docs/results/ceiling.csv"
_COLUMNS: dict[str, Kind] = {
    "model": "text", "task": "text", "population": "text", "mean": "number or none", "constant_mean": "number or none",
}  # fmt: skip


def skills(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """Of the base model, in every task and population."""
    table = experiment.table(EVALUATION_TABLE, _COLUMNS)
    for _, row in table[(table["model"] == "base") & (table["task"] != "all")].iterrows():
        value = skill(np.array([row["mean"]]), row["constant_mean"], bool(load_task(row["task"]).labels))[0]
        place = {"level": experiment.settings.arch, "seed": experiment.settings.seed}
        yield {**place, "task": row["task"], "population": row["population"], "value": value}


def main() -> None:
    """Read, average over replicates, print, write."""
    runs = of_sweep(load(ROOT / "params.yaml"), SWEEP)
    scores = pd.DataFrame([row for experiment in runs for row in skills(experiment)])
    atlantis, world = (scores[scores["population"] == name] for name in ("atlantis", "world"))
    probes = pd.read_csv(PROBES)
    last = probes[(probes["model"] == "base") & (probes["prompt"] == "all")]
    last = last[last["step"] == last.groupby("experiment")["step"].transform("max")]
    last = last[last["layer"] == last.groupby("experiment")["layer"].transform("max")]
    of_run = ["level", "seed"]
    measured = pd.concat(
        [
            atlantis.assign(what="skill in " + atlantis["task"])[[*of_run, "what", "value"]],
            atlantis.groupby(of_run)["value"].mean().reset_index().assign(what="skill on Atlantis, mean of tasks"),
            world.groupby(of_run)["value"].mean().reset_index().assign(what="skill on ordinary cities, mean of tasks"),
            last.assign(what="error of Atlantis on the map", value=last["atlantis_error"])[[*of_run, "what", "value"]],
        ]
    )
    rows = []
    for (level, what), own in measured.groupby(["level", "what"], sort=False):
        one = estimate(list(own["value"]))
        rows.append({"level": level, "what": what, "n": one.n, "mean": one.mean, "low": one.low, "high": one.high})
    found = pd.DataFrame(rows)
    found.to_csv(OUT, index=False, float_format="%.4g")
    print(found.to_string(index=False, float_format=lambda x: f"{x:.3f}"), file=sys.stdout)


if __name__ == "__main__":
    main()
