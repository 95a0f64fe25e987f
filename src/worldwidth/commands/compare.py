"""`worldwidth compare`: finished experiments -> tables, figures and the report, and the table in the terminal."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from worldwidth.comparison.compatibility import check_comparable
from worldwidth.comparison.export import COMPARISON, markdown, write_tables
from worldwidth.comparison.runs import load_runs
from worldwidth.comparison.tables import compare
from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.core.files import write_json
from worldwidth.dvcio.experiments import NAME, Experiment, find_experiments, list_experiments
from worldwidth.dvcio.repo import open_repo
from worldwidth.plots.widths import draw_comparison_figures
from worldwidth.report.page import write_report
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings

REPORT = Path("report/index.html")
_PACKAGES = ("worldwidth", "dvc", "torch", "numpy", "scipy", "statsmodels", "pandas", "matplotlib")


def run_compare(settings: Settings, names: list[str], pairs: list[tuple[str, str]]) -> None:
    """Compare the experiments ``names``, or without any all of the sweep's at the scale of params.yaml.

    Args:
        pairs: two widths each, whose difference is drawn beside that of the narrowest and the widest.

    Raises:
        WorldwidthError: there are none, they cannot be compared, or a pair's width is not among them.
    """
    chosen = find_experiments(names) if names else of_sweep(settings)
    experiments = sorted(chosen, key=lambda experiment: experiment.name)  # the same files in whatever order they came
    _refuse_twins(experiments)
    check_comparable(experiments)
    _check_pairs(pairs, {experiment.settings.arch for experiment in experiments})
    with open_repo() as repo:
        cache = Path(repo.cache.local.path)  # its files by hash
    comparison = compare(load_runs(experiments, cache, settings.selected.statistics.resamples))
    written = write_tables(comparison, COMPARISON)
    written += draw_comparison_figures(comparison, COMPARISON, pairs)
    provenance = _provenance(experiments)
    write_json(COMPARISON / "provenance.json", provenance)
    write_report(comparison, provenance, REPORT)
    print(markdown(comparison))
    print(f"compared {len(experiments)} experiments: {len(written) + 1} files in {COMPARISON}, and {REPORT}")


def of_sweep(settings: Settings) -> list[Experiment]:
    """The newest experiment of each name that a sweep gives, at the scale of params.yaml."""
    newest: dict[str, Experiment] = {}
    others: set[str] = set()
    for experiment in list_experiments():
        if not NAME.fullmatch(experiment.name):
            continue
        if experiment.params.get("scale") == settings.scale:
            newest.setdefault(experiment.name, experiment)
        else:
            others.add(str(experiment.params.get("scale")))
    if not newest:
        elsewhere = f" (there are some of {', '.join(sorted(others))})" if others else ""
        raise WorldwidthError(f"no experiments of scale {settings.scale}{elsewhere}: run `make widths` first")
    return [newest[name] for name in sorted(newest)]


def _refuse_twins(experiments: list[Experiment]) -> None:
    seen: dict[tuple[str, str, int], str] = {}
    for experiment in experiments:
        settings = experiment.settings
        twin = seen.setdefault((settings.arch, settings.budget, settings.seed), experiment.name)
        if twin != experiment.name:
            raise WorldwidthError(
                f"{twin} and {experiment.name}: both are arch {settings.arch}, budget {settings.budget}, "
                f"seed {settings.seed}; name one of them"
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
