"""The report: one HTML file that says what a comparison found. It needs no network, and reads without a script."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from worldwidth.comparison.export import COMPARISONS, TABLES, heading_of, title_of
from worldwidth.comparison.metrics import Metric
from worldwidth.comparison.representations import MapTables
from worldwidth.comparison.tables import Comparison
from worldwidth.core.files import write_text
from worldwidth.core.text import count, listed, plural, printable, seeds
from worldwidth.plots.comparison import draw_scores
from worldwidth.plots.losses import draw_curves
from worldwidth.plots.ratios import draw_ratios, has_ratios
from worldwidth.plots.style import COLORS, PAGES
from worldwidth.plots.svg import inline_svg
from worldwidth.report.details import details, experiment_rows, size_rows
from worldwidth.report.maps import land_symbol, maps_of
from worldwidth.report.matrix import matrix_data, sets_of, static_matrix
from worldwidth.report.panels import forest, forgetting_panels, legend, result_panels
from worldwidth.report.reading import read_reading
from worldwidth.report.sentences import arm_titles, asked_about, headline, levels_noun, limits
from worldwidth.settings.schema import COLOURS, finetuned

TEMPLATE = Path("templates/report.html.j2")


def write_report(
    comparison: Comparison, maps: MapTables, provenance: dict[str, Any], path: Path, root: Path = Path()
) -> None:
    """Write the report to ``path``.

    Args:
        provenance: name, by, sweeps, worldwidth_commit, params, versions, machine, time, experiments.
        root: the project's folder, in which the template and the reading are.
    """
    environment = Environment(
        loader=FileSystemLoader(root / TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": count, "listed": listed}
    reading = read_reading(root)
    titles = arm_titles(comparison)
    forest_note, forests = forest(comparison)
    drawn = [(titles[arm], of_arm) for arm in comparison.arms if (of_arm := list(maps_of(comparison, arm, maps)))]
    folder = COMPARISONS / provenance["name"]
    page = environment.get_template(TEMPLATE.name).render(
        title=title_of(comparison),
        question=f"Does {asked_about(comparison)} change how a small transformer takes in new entities?",
        reading=reading if reading and reading.comparison == provenance["name"] else None,
        headline=headline(comparison),
        panels=result_panels(comparison),
        legend=legend(comparison),
        meta=_meta(comparison, provenance),
        level=heading_of(comparison),
        levels=[(level, level) for level in comparison.axis.levels],
        levels_noun=levels_noun(comparison),
        arms=[(arm, titles[arm]) for arm in comparison.arms],
        sets=[(str(i), block.title) for i, block in enumerate(sets_of(comparison))],
        colours=[(name, name) for name in COLOURS],
        colors=COLORS,
        pages=PAGES,
        tasks=comparison.settings.tasks,
        finetunes=comparison.settings.finetunes,
        matrix=static_matrix(comparison),
        matrix_caption=", ".join(filter(None, (comparison.levels(comparison.arms[0])[0], titles[comparison.arms[0]]))),
        data=_json(matrix_data(comparison)),
        forests=forests,
        forest_note=forest_note,
        curves=_curves(comparison),
        maps=drawn,
        map_columns=max((len(comparison.levels(arm)) for arm in comparison.arms), default=1),
        land=land_symbol() if drawn else "",
        training=inline_svg(draw_curves(comparison), "curves", "Pre-training loss against FLOPs and tokens"),
        forgetting=forgetting_panels(comparison),
        limits=limits(comparison),
        scale=comparison.settings.selected,
        draws=comparison.runs["atlantis_seed"].nunique(),
        fine_tunes=_fine_tunes(comparison),
        meanings=_meanings(comparison.metrics),
        sizes=size_rows(comparison),
        details=details(comparison),
        experiments=experiment_rows(comparison, provenance),
        provenance=provenance,
        folder=folder.as_posix(),
        files=[f"{name}.csv" for name in TABLES if not getattr(comparison, name).empty],
    )
    write_text(path, page)


def _shown(value: Any) -> Any:
    """What an expression of the template gives; HTML is escaped after this, invisible characters here."""
    return printable(value, keep="\n\t\N{NO-BREAK SPACE}") if type(value) is str else value


def _json(data: dict[str, Any]) -> Markup:
    """JSON inside a ``<script>``, which nothing in it ends."""
    return Markup(json.dumps(data, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c"))


def _meta(comparison: Comparison, provenance: dict[str, Any]) -> str:
    """Scale, seeds, runs, date."""
    each = seeds(comparison.runs.groupby(["arm", "level"]).size())
    levels, arms = len(comparison.axis.levels), len(comparison.arms)
    parts = [
        f"Scale {comparison.settings.scale}",
        f"{levels} {levels_noun(comparison, levels)}",
        *([f"{arms} arms"] if arms > 1 else []),
        f"{each} each",
        plural(len(comparison.runs), "run"),
        provenance["time"][:10],
    ]
    return " · ".join(parts)


def _curves(comparison: Comparison) -> list[dict[str, Any]]:
    """Scores over a rate, a ratio or another axis, where runs differ in one."""
    found = []
    if has_ratios(comparison):
        chart = inline_svg(draw_ratios(comparison), "ratios", "Scores over the ratio of the body's rate")
        found.append({"id": "ratios", "title": "Fast and slow bodies", "chart": chart})
    if (axis := comparison.design.drawn_over) is not None and len(axis.levels) > 1 and axis.is_quantitative:
        chart = inline_svg(draw_scores(comparison), "scores", f"Scores over {axis.key}")
        found.append({"id": "scores", "title": f"Scores over {axis.key}", "chart": chart})
    return found


def _fine_tunes(comparison: Comparison) -> str:
    """``1 on no task, 7 on 1 task and 6 on 2 tasks; and 8 plug-ins``."""
    settings = comparison.settings
    counts = [len(settings.finetunes[model]) for model in finetuned(settings)]
    plug_ins = len(settings.finetunes) - len(counts)
    said = listed(f"{counts.count(n)} on {plural(n, 'task') if n else 'no task'}" for n in sorted(set(counts)))
    return f"{said}; and {plural(plug_ins, 'plug-in')}" if plug_ins else said


def _meanings(metrics: dict[str, Metric]) -> list[tuple[str, str]]:
    """Labels of metrics and what they mean, each meaning once."""
    by_meaning: dict[str, list[str]] = {}
    for metric in metrics.values():
        by_meaning.setdefault(metric.meaning, []).append(metric.label)
    return [("; ".join(labels), meaning) for meaning, labels in by_meaning.items()]
