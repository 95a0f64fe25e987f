"""`worldwidth compare`: finished experiments -> tables, figures and the report, and the table in the terminal."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from worldwidth.comparable import check_comparable
from worldwidth.comparison import compare
from worldwidth.comparison_figures import draw_comparison_figures
from worldwidth.comparison_tables import COMPARISON, markdown, write_tables
from worldwidth.errors import WorldwidthError, nearest
from worldwidth.experiments import NAME, Experiment, find_experiments, list_experiments
from worldwidth.files import write_json
from worldwidth.forecast import open_repo
from worldwidth.matrix import PARAMS, Matrix
from worldwidth.report import write_report
from worldwidth.run_scores import load_runs

REPORT = Path("report/index.html")
_PACKAGES = ("worldwidth", "dvc", "torch", "numpy", "scipy", "statsmodels", "pandas", "matplotlib")


def run_compare(matrix: Matrix, names: list[str], pairs: list[tuple[str, str]]) -> None:
    """Compare the experiments ``names``, or without any all of the sweep's at the scale of params.yaml.

    Args:
        pairs: two widths each, whose difference is drawn beside that of the narrowest and the widest.

    Raises:
        WorldwidthError: there are none, they cannot be compared, or a pair's width is not among them.
    """
    chosen = find_experiments(names) if names else of_sweep(matrix)
    experiments = sorted(chosen, key=lambda experiment: experiment.name)  # the same files in whatever order they came
    _refuse_twins(experiments)
    check_comparable(experiments)
    _check_pairs(pairs, {experiment.matrix.arch for experiment in experiments})
    with open_repo() as repo:
        cache = Path(repo.cache.local.path)  # its files by hash
    comparison = compare(load_runs(experiments, cache, matrix.selected.statistics.resamples))
    written = write_tables(comparison, COMPARISON)
    written += draw_comparison_figures(comparison, COMPARISON, pairs)
    provenance = _provenance(experiments)
    write_json(COMPARISON / "provenance.json", provenance)
    write_report(comparison, provenance, REPORT)
    print(markdown(comparison))
    print(f"compared {len(experiments)} experiments: {len(written) + 1} files in {COMPARISON}, and {REPORT}")


def of_sweep(matrix: Matrix) -> list[Experiment]:
    """The newest experiment of each name that a sweep gives, at the scale of params.yaml."""
    newest: dict[str, Experiment] = {}
    others: set[str] = set()
    for experiment in list_experiments():
        if not NAME.fullmatch(experiment.name):
            continue
        if experiment.params.get("scale") == matrix.scale:
            newest.setdefault(experiment.name, experiment)
        else:
            others.add(str(experiment.params.get("scale")))
    if not newest:
        elsewhere = f" (there are some of {', '.join(sorted(others))})" if others else ""
        raise WorldwidthError(f"no experiments of scale {matrix.scale}{elsewhere}: run `make widths` first")
    return [newest[name] for name in sorted(newest)]


def _refuse_twins(experiments: list[Experiment]) -> None:
    seen: dict[tuple[str, str, int], str] = {}
    for experiment in experiments:
        matrix = experiment.matrix
        twin = seen.setdefault((matrix.arch, matrix.budget, matrix.seed), experiment.name)
        if twin != experiment.name:
            raise WorldwidthError(
                f"{twin} and {experiment.name}: both are arch {matrix.arch}, budget {matrix.budget}, "
                f"seed {matrix.seed}; name one of them"
            )


def _check_pairs(pairs: list[tuple[str, str]], archs: set[str]) -> None:
    for name in (name for pair in pairs for name in pair):
        if name not in archs:
            there = sorted(archs)
            raise WorldwidthError(
                f"arch '{name}': not among the experiments; there: {', '.join(there)}{nearest(name, there)}"
            )


def _provenance(experiments: list[Experiment]) -> dict[str, Any]:
    """Where the numbers come from. The time is that of the newest experiment: comparing again changes no file."""
    newest = max(experiment.time for experiment in experiments)
    return {
        "worldwidth_commit": ", ".join(dict.fromkeys(experiment.baseline for experiment in experiments)),
        "time": datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "versions": {"Python": platform.python_version(), **{package: version(package) for package in _PACKAGES}},
        "experiments": [{"name": experiment.name, "commit": experiment.commit} for experiment in experiments],
        "params": experiments[0].text(PARAMS) or "",
    }
