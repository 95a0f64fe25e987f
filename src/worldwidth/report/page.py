"""The report: one HTML file that says what a comparison found; it needs no network and no script."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from worldwidth.comparison.axes import BUDGET, in_file_name
from worldwidth.comparison.export import COMPARISONS, heading_of, title_of
from worldwidth.comparison.metrics import Metric
from worldwidth.comparison.primary_text import heading, near_equal_lines, remarks, standing
from worldwidth.comparison.runs import RETENTION
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.files import write_text
from worldwidth.core.text import MINUS, count, listed, plural, printable, seeds
from worldwidth.plots.comparison import (
    Block,
    change_panel,
    draw_scores,
    mean_panel,
    missing_models,
    retention_blocks,
    study_blocks,
)
from worldwidth.plots.heatmap import SCORE, SIGNED, CellSize, Panel, Scale, draw_panels
from worldwidth.plots.losses import draw_curves
from worldwidth.plots.svg import inline_svg
from worldwidth.report.sentences import asked_about, compute_caveat, doubled, headline, levels_noun, limits, terms
from worldwidth.report.tables import (
    compute_rows,
    headings,
    in_prose,
    mean_rows,
    pair_tests,
    primary_tables,
    sizes,
    trend_tests,
    verdicts,
)
from worldwidth.report.transfer import transfer_sections
from worldwidth.settings.schema import finetuned

TEMPLATE = Path("templates/report.html.j2")
_CELL = CellSize(width=34, height=30, font=11, beside=10)
_COLUMNS = 3  # matrices in a row; two where that leaves one alone


def write_report(comparison: Comparison, provenance: dict[str, Any], path: Path, root: Path = Path()) -> None:
    """Write the report to ``path``.

    Args:
        provenance: name, by, sweeps, worldwidth_commit, params, versions, machine, time, experiments.
        root: the project's folder, in which the template is.
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
    environment.filters |= {"count": count, "listed": listed, "first_upper": lambda text: text[:1].upper() + text[1:]}
    page = environment.get_template(TEMPLATE.name).render(
        comparison=comparison,
        title=title_of(comparison),
        question=f"Does {asked_about(comparison)} change how a small transformer takes in new entities?",
        asked_about=asked_about(comparison),
        level=heading_of(comparison),
        levels_noun=levels_noun(comparison),
        one_level=levels_noun(comparison, 1),
        doubled=doubled(comparison),
        scale=comparison.settings.selected,
        draws=comparison.runs["atlantis_seed"].nunique(),
        primary={"heading": heading(comparison), "standing": standing(comparison), "lines": remarks(comparison)},
        primary_tables=primary_tables(comparison),
        terms=terms(comparison),
        seeds_text=seeds(comparison.runs.groupby(["arm", "level"]).size()),
        sizes=sizes(comparison),
        fine_tunes=_fine_tunes(comparison),
        meanings=_meanings(comparison.metrics),
        headings=headings(comparison.metrics),
        arms=[_arm(comparison, arm) for arm in comparison.arms],
        scores_chart=inline_svg(draw_scores(comparison), "scores", f"Headline metrics against {_against(comparison)}"),
        curves_chart=inline_svg(draw_curves(comparison), "curves", "Pre-training loss against FLOPs and tokens"),
        transfer_sections=transfer_sections(comparison),
        limits=limits(comparison),
        experiments=_experiments(comparison, provenance),
        provenance=provenance,
        tables=(COMPARISONS / provenance["name"]).as_posix(),
        score_bar=_color_bar(SCORE),
        signed_bar=_color_bar(SIGNED),
    )
    write_text(path, page)


def _shown(value: Any) -> Any:
    """What an expression of the template gives; HTML is escaped after this, invisible characters here."""
    return printable(value, keep="\n\t\N{NO-BREAK SPACE}") if type(value) is str else value


def _against(comparison: Comparison) -> str:
    axis = comparison.design.drawn_over
    return axis.key if axis else "parameters and FLOPs"


def _arm(comparison: Comparison, arm: str) -> dict[str, Any]:
    """What the template shows for one arm."""
    kept = {name: metric for name, metric in comparison.metrics.items() if metric.matrix == RETENTION}
    levels, blocks = comparison.levels(arm), study_blocks(comparison.settings)
    is_budget = [axis.key for axis in comparison.design.within] == [BUDGET]
    return {
        "name": f"budget {arm}" if is_budget else arm,
        "title": comparison.words(arm),
        "levels": levels,
        "headline": headline(comparison, arm),
        "caveat": compute_caveat(comparison, arm),
        "compute": compute_rows(comparison, arm),
        "means": mean_rows(comparison, arm, comparison.metrics),
        "trends": trend_tests(comparison, arm),
        "pairs": pair_tests(comparison, arm),
        "near_equal": near_equal_lines(comparison, arm),
        "columns": 2 if len(levels) in (2, 4) else min(len(levels), _COLUMNS),
        "matrices": {block.title: list(_matrices(comparison, arm, block)) for block in blocks},
        "signed": [block.title for block in blocks if block.scale == SIGNED],
        "changes": list(_changes(comparison, arm, blocks)),
        "retention": {
            block.title: list(_matrices(comparison, arm, block)) for block in retention_blocks(comparison.settings)
        },
        "retention_headings": headings(kept),
        "retention_means": mean_rows(comparison, arm, kept),
        "verdicts": verdicts(comparison, arm),
    }


def _matrices(comparison: Comparison, arm: str, block: Block) -> Iterator[tuple[str, str, Markup]]:
    """A matrix of every level: the level, what is missing, the drawing."""
    for i, level in enumerate(comparison.levels(arm)):
        drawing = _drawn(mean_panel(comparison, arm, level, block), block, f"{in_file_name(arm)}-{i}", level)
        yield level, _missing(comparison, arm, block, level), drawing


def _changes(comparison: Comparison, arm: str, blocks: list[Block]) -> Iterator[tuple[str, str, Markup]]:
    """How the cells differ between the ends, with intervals; nothing where the ends share no replicate."""
    levels = comparison.levels(arm)
    ends = levels[0], levels[-1]
    if records(comparison.cell_differences, arm=arm, level=ends[0], other=ends[1]):
        for block in blocks:
            panel = change_panel(comparison, arm, *ends, block)
            drawing = _drawn(panel, block, f"{in_file_name(arm)}-change", f"{ends[1]} {MINUS} {ends[0]}")
            yield block.title, _missing(comparison, arm, block, *ends), drawing


def _missing(comparison: Comparison, arm: str, block: Block, *levels: str) -> str:
    remarks = missing_models(comparison, arm, *levels)
    trained = comparison.settings.finetunes
    return "; ".join(
        f"{' + '.join(trained[model]) or 'no task'}: {remarks[model]}" for model in block.models if model in remarks
    )


def _drawn(panel: Panel, block: Block, name: str, what: str) -> Markup:
    name = re.sub(r"\W+", "-", f"{block.matrices[0]}-{block.title}-{name}")
    return inline_svg(draw_panels([[panel]], _CELL, bars=False), name, f"{block.title}, {what}")


def _color_bar(scale: Scale) -> Markup:
    """The scale as a gradient in CSS."""
    return Markup(f"linear-gradient(to right, {', '.join(scale.shades(11))})")


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
        by_meaning.setdefault(metric.meaning, []).append(in_prose(metric.label))
    return [(listed(labels), meaning) for meaning, labels in by_meaning.items()]


def _experiments(comparison: Comparison, provenance: dict[str, Any]) -> list[dict[str, str]]:
    """The experiments with what is known about each."""
    found = []
    for experiment in provenance.get("experiments", []):
        runs = records(comparison.runs, experiment=experiment["name"])
        run = runs[0] if runs else {}
        found.append(
            {
                "name": str(experiment["name"]),
                "commit": str(experiment["commit"])[:12],
                "run": _run(comparison, run) if run else "",
                "cells": f"{run['cells_measurable']} of {run['cells']}" if run else "",
                "missing": run["missing_models"].replace(" ", ", ") if run else "",
            }
        )
    return found


def _run(comparison: Comparison, run: dict[str, Any]) -> str:
    """What an experiment is a run of."""
    draw = f", Atlantis {run['atlantis_seed']}" if comparison.runs["atlantis_seed"].nunique() > 1 else ""
    return f"{run['level']}, {run['arm']}, seed {run['seed']}{draw}"
