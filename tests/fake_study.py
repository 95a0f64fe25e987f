"""A finished study, written in the pipeline's formats."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.evaluation import tables
from worldwidth.evaluation.scores import Cell
from worldwidth.settings.paths import CURVES, EVALUATIONS, SCORES
from worldwidth.settings.schema import Settings
from worldwidth.tasks import load_task

Floats = NDArray[np.float64]
LINES = 60
PARAMETERS, RESAMPLES = 44_512, 100


def statistics(lines: Floats) -> dict[str, float | int]:
    spread = {"mean": lines.mean(), "median": np.median(lines), "std": lines.std(), "min": lines.min()}
    numbers: dict[str, float] = {key: float(value) for key, value in spread.items()}
    return {**numbers, "max": float(lines.max()), "n": len(lines), "parse_rate": 1.0, "exact_match": 0.25}


def write_study(settings: Settings) -> None:
    """All models' evaluations, per-line scores and training curves, below the working directory."""
    rng = np.random.default_rng(0)
    for folder in (CURVES, EVALUATIONS, SCORES):
        folder.mkdir(parents=True)
    for number, model in enumerate(settings.models):
        report: dict[str, Any] = {}
        lines: dict[str, Any] = {}
        for task in settings.tasks:
            report[task] = {}
            for population in ("world", "atlantis"):
                easy = population == "world" or task in settings.finetunes.get(model, ())
                right = (rng.random(LINES) < (0.9 if easy else 0.4)).astype(np.float32)
                error = rng.integers(1, 20 if easy else 200, LINES).astype(np.float32)
                lines[f"{task}.{population}"] = right if load_task(task).labels else error
                report[task][population] = {
                    **statistics(lines[f"{task}.{population}"].astype(float)),
                    "constant_answer": "TRUE" if load_task(task).labels else "58",
                    "constant_mean": 0.5 if load_task(task).labels else 50.0,
                }
        parts = {task: statistics(lines[f"{task}.world"][:9].astype(float)) for task in settings.tasks}
        report["multitask"] = {"exact_match": 0.125, "n": 9 * len(parts), **parts}
        report["model"] = {"name": model, "weights": f"sha of {model}"}
        (EVALUATIONS / f"{model}.json").write_text(json.dumps(report, indent=2))
        np.savez_compressed(SCORES / f"{model}.npz", model=np.array([model, f"sha of {model}"]), **lines)
        rows = ["step,tokens,flops,loss,learning_rate,validation_loss,gradient_norm,order"]
        for step in (1, 5, 7 + number):
            flops = 6 * PARAMETERS * 100 * step
            rows.append(f"{step},{100 * step},{flops},1.25,0.001,{'' if step == 5 else 1.5},0.5,1-0e{step}")
        (CURVES / f"{model}.csv").write_text("\n".join(rows) + "\n")


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        return dict(archive)


def compute(settings: Settings) -> tuple[list[Cell], dict[str, Any]]:
    return tables.compute_matrices(tables.load_study(settings, settings.models), RESAMPLES)
