"""`worldwidth compare`: finished experiments -> tables, figures and the report, and the table in the terminal."""

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from worldwidth.comparison.compatibility import check_comparable
from worldwidth.comparison.export import COMPARISON, markdown, write_tables
from worldwidth.comparison.runs import load_runs, read_run
from worldwidth.comparison.tables import compare
from worldwidth.core.errors import WorldwidthError, nearest, warn
from worldwidth.core.files import write_json
from worldwidth.dvcio.experiments import NAME, Experiment, find_experiments, list_experiments
from worldwidth.dvcio.repo import open_repo
from worldwidth.plots.widths import draw_comparison_figures
from worldwidth.report.page import write_report
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings

Read = TypeVar("Read")

REPORT = Path("report/index.html")
_PACKAGES = ("worldwidth", "dvc", "torch", "numpy", "scipy", "statsmodels", "pandas", "matplotlib")


def run_compare(settings: Settings, names: list[str], pairs: list[tuple[str, str]]) -> None:
    """Compare the experiments ``names``, or without any all of the sweep's at the scale of params.yaml.

    Args:
        pairs: two widths each, whose difference is drawn beside that of the narrowest and the widest.

    Raises:
        WorldwidthError: there are none, they cannot be compared, or a pair's width is not among them; or, at the end,
            some were left out, for they are damaged.
    """
    chosen = find_experiments(names) if names else of_sweep(settings)
    chosen.sort(key=lambda experiment: experiment.name)  # the same files in whatever order they came
    experiments = _sound(chosen, _opened)
    _refuse_twins(experiments)
    check_comparable(experiments)
    _check_pairs(pairs, {experiment.settings.arch for experiment in experiments})
    with open_repo() as repo:
        cache = Path(repo.cache.local.path)  # its files by hash
    files = _sound(experiments, lambda experiment: read_run(experiment, cache))
    experiments = [run.experiment for run in files]
    comparison = compare(load_runs(files, settings.selected.statistics.resamples))
    written = write_tables(comparison, COMPARISON)
    written += draw_comparison_figures(comparison, COMPARISON, pairs)
    provenance = _provenance(experiments)
    write_json(COMPARISON / "provenance.json", provenance)
    write_report(comparison, provenance, REPORT)
    print(markdown(comparison))
    print(f"compared {len(experiments)} experiments: {len(written) + 1} files in {COMPARISON}, and {REPORT}")
    if left_out := [experiment.name for experiment in chosen if experiment not in experiments]:
        raise WorldwidthError(f"left out, as said above: {', '.join(left_out)}; the others are compared")


def _opened(experiment: Experiment) -> Experiment:
    """The experiment, once its params.yaml and dvc.lock have been read."""
    _ = experiment.settings, experiment.lock
    return experiment


def _sound(experiments: list[Experiment], read: Callable[[Experiment], Read]) -> list[Read]:
    """What ``read`` gives for those experiments that are sound; the others are named on stderr.

    Raises:
        WorldwidthError: none is.
    """
    found: list[Read] = []
    errors: list[WorldwidthError] = []
    for experiment in experiments:
        try:
            found.append(read(experiment))
        except WorldwidthError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    for damage in errors:
        warn(f"left out: {damage}")
    return found


def of_sweep(settings: Settings) -> list[Experiment]:
    """The newest experiment of each name that a sweep gives, at the scale of params.yaml."""
    newest: dict[str, Experiment] = {}
    others: set[str] = set()
    for experiment in list_experiments():
        if not NAME.fullmatch(experiment.name):
            continue
        scale = _scale(experiment) or settings.scale  # where it cannot be read, that is said when it is compared
        if scale == settings.scale:
            newest.setdefault(experiment.name, experiment)
        else:
            others.add(scale)
    if not newest:
        elsewhere = f" (there are some of {', '.join(sorted(others))})" if others else ""
        raise WorldwidthError(f"no experiments of scale {settings.scale}{elsewhere}: run `make widths` first")
    return [newest[name] for name in sorted(newest)]


def _scale(experiment: Experiment) -> str:
    """The scale of an experiment; empty where its params.yaml cannot be read."""
    try:
        return str(experiment.params.get("scale", ""))
    except WorldwidthError:
        return ""


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
