"""`worldwidth compare`: finished experiments -> tables, figures and the report, and the table in the terminal."""

import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from worldwidth.commands.draw_comparison import REPORTS, check_pairs, draw, run_draw
from worldwidth.comparison.axes import ARCH, REPLICATE, Design, value_of
from worldwidth.comparison.checkpoints import checkpoint_table
from worldwidth.comparison.compatibility import check_comparable, first_that_knows_all
from worldwidth.comparison.declared import Declared, check_analysis, declared
from worldwidth.comparison.export import COMPARISONS, markdown, write_each, write_tables
from worldwidth.comparison.representations import MapTables, read_maps
from worldwidth.comparison.runs import load_runs, read_run, replicate_of
from worldwidth.comparison.stored import PROVENANCE, read_comparison
from worldwidth.comparison.tables import compare
from worldwidth.core.errors import WorldwidthError, warn
from worldwidth.core.files import write_json
from worldwidth.core.markdown import print_markdown
from worldwidth.core.text import listed, plural
from worldwidth.dvcio.experiments import NAME, Experiment, find_experiments, list_experiments
from worldwidth.dvcio.repo import open_repo
from worldwidth.settings.axes import all_axes
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.sweep.variants import variants_of

Read = TypeVar("Read")

_PLAIN = re.compile(r"[^-]+-[^-]+-s\d+(-a\d+)?")
"""Names of runs that have an arch, a budget and seeds of their own, and nothing else."""
_OUT = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_PACKAGES = ("worldwidth", "dvc", "torch", "numpy", "scipy", "statsmodels", "pandas", "matplotlib")


@dataclass(frozen=True)
class Question:
    """What is asked of which runs."""

    sweeps: tuple[str, ...]
    """Of params.yaml, if their runs are compared."""
    by: tuple[str, ...]
    """One axis or two."""
    others: tuple[str, ...]
    """Further axes that the sweeps vary."""
    name: str
    """Of the folders that hold the answer."""

    @classmethod
    def of(cls, settings: Settings, names: list[str], by: Sequence[str] | None, out: str | None) -> "Question":
        """The question of a command line.

        Raises:
            WorldwidthError: an axis is none, there are more than two, several sweeps have no ``out``, or it is no name.
        """
        sweeps = tuple(dict.fromkeys(names)) if all(name in settings.sweeps for name in names) else ()
        each = [[axis for axis in settings.sweeps[sweep].vary if axis not in REPLICATE] for sweep in sweeps]
        varied = list(dict.fromkeys(chain(*each)))
        by_all = [axis for axis in varied if all(axis in axes for axes in each)]
        chosen = tuple(dict.fromkeys(by or by_all[:2] or [ARCH]))
        for axis in chosen:
            value_of(settings, axis)
        if len(chosen) > 2:
            raise WorldwidthError(f"--by: found {', '.join(chosen)}; at most two axes can be compared at once")
        if len(sweeps) > 1 and out is None:
            raise WorldwidthError("--out: several sweeps are compared; name the folders that it is written to")
        name = out or (sweeps[0] if sweeps else settings.scale)
        if not _OUT.fullmatch(name):
            raise WorldwidthError(
                f"--out: found '{name}'; it must be a name of small letters, digits, - and _ that begins with a letter"
            )
        return cls(sweeps, chosen, tuple(axis for axis in varied if axis not in chosen), name)

    def arms(self, settings: Settings, runs: Sequence[Settings]) -> dict[str, str]:
        """Arm -> the sweep that it is, where several are compared: of those that are one arm, and no other one's."""
        design = Design.of(runs, self.by, self.others)
        each = {
            sweep: {design.arm_of(variant.of(settings)) for variant in variants_of(settings, settings.sweeps[sweep])}
            for sweep in self.sweeps
        }
        often = Counter(chain(*each.values()))
        named = {sweep: next(iter(arms)) for sweep, arms in each.items() if len(arms) == 1}
        return {arm: sweep for sweep, arm in named.items() if often[arm] == 1} if len(each) > 1 else {}


def run_compare(
    settings: Settings,
    names: list[str],
    pairs: list[tuple[str, str]],
    by: Sequence[str] | None = None,
    out: str | None = None,
    source: str | None = None,
) -> None:
    """Compare experiments, or those of sweeps, and write what comes out to results/comparison and report.

    Runs that have not trained the same models are compared in those that all have.

    Args:
        names: experiments, or sweeps of params.yaml; empty for all of the scale of params.yaml that differ in arch,
            budget and seeds alone, or with ``by`` in whatever else.
        pairs: two levels each, whose difference is drawn beside that of the first and the last.
        by: one axis or two; None for the first two that all of the sweeps vary, or else the arch.
        out: name of the folders; None for that of the one sweep, or else of the scale.
        source: draw this comparison again in place of all that, from its tables.

    Raises:
        WorldwidthError: the declared metric is none, there are no experiments, they cannot be compared, or a pair's
            level is not among them; or, at the end, some were left out, for they are damaged.
    """
    if source is not None:
        if names or by or out:
            raise WorldwidthError("--from: draws what was compared; name no experiments, --by or --out beside it")
        run_draw(source, pairs, settings.colours)
        return
    check_analysis(settings)
    question = Question.of(settings, names, by, out)
    chosen = _chosen(settings, question, names, _PLAIN if by is None else NAME)
    chosen.sort(key=lambda experiment: experiment.name)  # the same files in whatever order they came
    experiments = _alike(_sound(chosen, _opened))
    everything = [experiment.settings for experiment in experiments]
    called = question.arms(settings, everything)
    design = Design.of(everything, question.by, question.others, called)
    if by is not None:
        _refuse_one_value(experiments, design)
    _refuse_twins(experiments, design)
    check_pairs(pairs, design.axis)
    check_comparable(experiments, (*question.by, *question.others))
    with open_repo() as repo:
        cache = Path(repo.cache.local.path)  # its files by hash
    files = _sound(experiments, lambda experiment: read_run(experiment, cache))
    experiments = [run.experiment for run in files]
    params = first_that_knows_all(experiments).text(PARAMS) or ""
    plan = declared(settings, question.by[0], experiments)
    runs = load_runs(files, settings.selected.statistics.resamples)
    comparison = compare(runs, question.by, question.others, plan, called)
    folder = COMPARISONS / question.name
    written = write_tables(comparison, folder)
    found = read_maps(runs, design, cache)
    maps = MapTables.of(found)
    maps = replace(maps, checkpoints=checkpoint_table(found, maps.representations, cache))
    written += write_each(folder, vars(maps))
    write_json(folder / PROVENANCE, _provenance(question, experiments, plan, called, params))
    stored = read_comparison(folder)
    written += draw(stored, question.name, pairs, settings.colours)
    print_markdown(markdown(stored.comparison))
    print(
        f"compared {plural(len(experiments), 'experiment')}: {len(written) + 1} files in {folder}, and "
        f"{REPORTS / question.name / 'index.html'}"
    )
    compared = {experiment.name for experiment in experiments}
    if left_out := [experiment.name for experiment in chosen if experiment.name not in compared]:
        raise WorldwidthError(f"left out, as said above: {', '.join(left_out)}; the others are compared")


def _chosen(settings: Settings, question: Question, names: list[str], pattern: re.Pattern[str]) -> list[Experiment]:
    if question.sweeps:
        found = [experiment for sweep in question.sweeps for experiment in of_sweep(settings, sweep)]
        return list({experiment.name: experiment for experiment in found}.values())
    if sweeps := [name for name in names if name in settings.sweeps]:
        raise WorldwidthError(f"'{sweeps[0]}': sweeps are named without experiments beside them")
    return find_experiments(names) if names else of_scale(settings, pattern)


def _opened(experiment: Experiment) -> Experiment:
    """The experiment, once its params.yaml and dvc.lock have been read."""
    _ = experiment.settings, experiment.lock
    return experiment


def _alike(experiments: list[Experiment]) -> list[Experiment]:
    """The experiments, seen in those fine-tunes that all of them have.

    Raises:
        WorldwidthError: there is none.
    """
    everything = [dict.fromkeys(experiment.settings.finetunes) for experiment in experiments]
    names = dict.fromkeys(chain(*everything))
    common = tuple(name for name in names if all(name in finetunes for finetunes in everything))
    if len(common) == len(names):
        return experiments
    if not common:
        raise WorldwidthError("the experiments have no fine-tune in common: there is nothing to compare")
    left_out = listed([name for name in names if name not in common])
    warn(f"compared in {plural(len(common), 'fine-tune')} that all experiments have, without {left_out}")
    return [replace(experiment, only=common) for experiment in experiments]


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


def of_sweep(settings: Settings, sweep: str) -> list[Experiment]:
    """The newest experiment of every run of a sweep of params.yaml; those that are not there are named on stderr.

    Raises:
        WorldwidthError: none is there.
    """
    variants = variants_of(settings, settings.sweeps[sweep])
    settings, wanted = variants[0].at_scale(settings), [variant.name for variant in variants]
    there, remedy = _newest(settings)[0], f"`worldwidth sweep {sweep}` makes them"
    missing = [name for name in wanted if name not in there]
    if len(missing) == len(wanted):
        raise WorldwidthError(f"sweep {sweep}: none of its {len(wanted)} runs is there at {settings.scale}; {remedy}")
    if missing:
        some = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        warn(f"sweep {sweep}: {len(missing)} of {len(wanted)} runs are not there ({some}); {remedy}")
    return [there[name] for name in wanted if name in there]


def of_scale(settings: Settings, pattern: re.Pattern[str]) -> list[Experiment]:
    """The newest experiment of each name that sweeps give and that is as ``pattern``, at the scale of params.yaml.

    Raises:
        WorldwidthError: there is none.
    """
    newest, others = _newest(settings)
    found = [newest[name] for name in sorted(newest) if pattern.fullmatch(name)]
    if not found:
        elsewhere = f" (there are some of {', '.join(sorted(others))})" if others else ""
        raise WorldwidthError(
            f"no experiments of scale {settings.scale}{elsewhere}: run `worldwidth sweep` or `make widths` first"
        )
    return found


def _newest(settings: Settings) -> tuple[dict[str, Experiment], set[str]]:
    """The newest experiment of each name that sweeps give, at the scale of params.yaml; and what other scales have."""
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
    return newest, others


def _scale(experiment: Experiment) -> str:
    """The scale of an experiment; empty where its params.yaml cannot be read."""
    try:
        return str(experiment.params.get("scale", ""))
    except WorldwidthError:
        return ""


def _refuse_one_value(experiments: list[Experiment], design: Design) -> None:
    """An axis that is asked for has two values or more."""
    for axis in design.by:
        if len(axis.levels) == 1:
            keys = [key for key in all_axes() if key not in REPLICATE]
            differing = [key for key in keys if len({value_of(one.settings, key) for one in experiments}) > 1]
            raise WorldwidthError(
                f"axis '{axis.key}': all {len(experiments)} experiments have {axis.levels[0]}; they differ in "
                f"{', '.join(differing) or 'nothing but seeds'}"
            )


def _refuse_twins(experiments: list[Experiment], design: Design) -> None:
    seen: dict[tuple[str, str, tuple[int, int]], str] = {}
    for experiment in experiments:
        settings = experiment.settings
        level, arm, replicate = design.level_of(settings), design.arm_of(settings), replicate_of(settings)
        twin = seen.setdefault((level, arm, replicate), experiment.name)
        if twin != experiment.name:
            raise WorldwidthError(
                f"{twin} and {experiment.name}: both are {design.axis.key} {level}, {arm}, seed {replicate[0]}, "
                f"Atlantis seed {replicate[1]}; name one of them, or with --by in what they differ"
            )


def _provenance(
    question: Question, experiments: list[Experiment], plan: Declared | None, names: dict[str, str], params: str
) -> dict[str, Any]:
    """Where the numbers come from. The time is that of the newest experiment: comparing again changes no file."""
    newest = max(experiment.time for experiment in experiments)
    return {
        "name": question.name,
        "by": list(question.by),
        "within": list(question.others),
        "sweeps": list(question.sweeps),
        "arms": names,
        "finetunes": list(experiments[0].settings.finetunes),
        "analysis": {**asdict(plan), "declared": plan.said, "decides": plan.is_before} if plan else None,
        "worldwidth_commit": ", ".join(dict.fromkeys(experiment.baseline for experiment in experiments)),
        "time": datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "versions": {"Python": platform.python_version(), **{package: version(package) for package in _PACKAGES}},
        "experiments": [{"name": experiment.name, "commit": experiment.commit} for experiment in experiments],
        "params": params,
    }
