"""`worldwidth plan --sweep NAME`: the runs of a sweep, and the difference that its replicates can tell from none."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from worldwidth.comparison.axes import ARCH, REPLICATE, Axis
from worldwidth.comparison.blocks import BLOCKS
from worldwidth.comparison.declared import check_analysis
from worldwidth.comparison.export import COMPARISONS
from worldwidth.comparison.power import POWER, PlannedTest, detectable, replicates_for
from worldwidth.comparison.primary import PAIR, contrast_levels, contrast_weights, doublings
from worldwidth.comparison.runs import replicate_of
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_json, read_text
from worldwidth.core.table import Kind, parse_table
from worldwidth.core.text import DASH, number, plural, wrapped
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.questions import Analysis
from worldwidth.settings.schema import Settings
from worldwidth.settings.strict_yaml import parse_yaml
from worldwidth.sweep.variants import chosen_sweep, variants_of

_COLUMNS: dict[str, Kind] = {
    "role": "text", "metric": "text", "estimator": "text", "sd": "number or none"
}  # fmt: skip


@dataclass(frozen=True)
class Sensitivity:
    """What one test can tell."""

    test: str
    detectable: float | None
    """The smallest difference with 80 % power; None with one replicate."""
    a_doubling: float | None
    """The same for each doubling of the axis's sizes; None where there is no such thing."""
    replicates_needed: int | None
    """For the declared bound of equivalence as the difference; None where 1,000 are too few."""


def print_sweep_plan(settings: Settings, name: str, replicates: int | None, as_json: bool) -> None:
    """Print what the replicates of the sweep ``name`` of params.yaml can tell.

    Args:
        replicates: in place of the sweep's own.

    Raises:
        WorldwidthError: there is no such sweep, or params.yaml declares no analysis.
    """
    check_analysis(settings)
    sweep, analysis = chosen_sweep(settings, name, [], replicates), settings.analysis
    if analysis is None:
        raise WorldwidthError(f"{PARAMS}: analysis: missing; it must be set to plan a sweep by what it can tell")
    variants = variants_of(settings, sweep)
    runs = [variant.of(settings) for variant in variants]
    varied = [axis for axis in sweep.vary if axis not in REPLICATE]
    axis = Axis.of(analysis.by if analysis.by in varied else (varied or [ARCH])[0], runs)
    n, (sd, source) = len({replicate_of(run) for run in runs}), _spread(variants[0].at_scale(settings), analysis)
    tests = list(_tests(axis, analysis, n, sd))
    if as_json:
        summary = {"sweep": name, "runs": len(runs), "axis": axis.key, "levels": axis.levels, "replicates": n}
        told = {"metric": analysis.primary, "sd": sd, "sd_from": source, "power": POWER}
        print(json.dumps({**summary, **told, "tests": [asdict(test) for test in tests]}, indent=2))
        return
    said = f"sweep {name}: {plural(len(runs), 'run')}, {axis.key} {', '.join(axis.levels)}, {plural(n, 'replicate')}"
    print(*wrapped(said), *wrapped(f"{analysis.primary}: sd of a run {sd:.3g}, {source}"), "", sep="\n")
    heads = ("", "tells", "a doubling", f"replicates for {analysis.equivalence:g}")
    rows = [
        (t.test, _shown(t.detectable), _shown(t.a_doubling), str(t.replicates_needed or "over 1,000")) for t in tests
    ]
    for row in (heads, *rows):
        print("{:<28} {:>8} {:>12} {:>20}".format(*row))
    said = "tells: the difference that is significant at 5 % with 80 % power, by the estimator of docs/statistics.md"
    print("", *wrapped(said), sep="\n")


def _shown(value: float | None) -> str:
    return DASH if value is None else number(value)


def _tests(axis: Axis, analysis: Analysis, n: int, sd: float) -> Iterator[Sensitivity]:
    levels = contrast_levels(axis, list(axis.levels), analysis.contrast)
    if levels:
        design = PlannedTest(len(levels), contrast_weights(axis, levels, analysis.contrast))
        found = detectable(design, n, sd)
        per = doublings(axis, levels) if analysis.contrast == "linear" else None
        needed = replicates_for(design, analysis.equivalence, sd)
        ends = f"{analysis.contrast}, {levels[0]} to {levels[-1]}"
        yield Sensitivity(ends, found, found / per if found and per else None, needed)
    if len(axis.levels) > 1:
        pair = PlannedTest(len(axis.levels), None)
        yield Sensitivity(
            "a pair (Tukey)", detectable(pair, n, sd), None, replicates_for(pair, analysis.equivalence, sd)
        )


def _spread(settings: Settings, analysis: Analysis) -> tuple[float, str]:
    """Standard deviation of a run, and where it is from: the newest comparison of this scale, or params.yaml."""
    newest = max(_measured(settings, analysis), default=None)
    if newest is None:
        return analysis.sd, f"as {PARAMS} has it: no comparison of scale {settings.scale} has measured it"
    _, sd, place = newest
    return sd, f"as measured in {place}"


def _measured(settings: Settings, analysis: Analysis) -> Iterator[tuple[str, float, str]]:
    """When a comparison was, the sd of a run pooled over its arms, and its table."""
    for path in sorted(COMPARISONS.glob("*/primary.csv")):
        about = read_json(path.with_name("provenance.json"), "run `worldwidth compare` again")
        shared = parse_yaml(about["params"], path.as_posix())
        table = parse_table(read_text(path), _COLUMNS, path.as_posix())
        chosen = table[(table["estimator"] == BLOCKS) & (table["role"] != PAIR) & (table["metric"] == analysis.primary)]
        sds = chosen["sd"].dropna()
        if shared["scale"] == settings.scale and (sds > 0).any():
            yield about["time"], float((sds**2).mean() ** 0.5), path.as_posix()
