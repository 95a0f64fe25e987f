"""The report: one HTML file that says what a comparison of widths found; it needs no network and no script."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from worldwidth.comparison.export import COMPARISON
from worldwidth.comparison.runs import RETENTION
from worldwidth.comparison.tables import BUDGETS, Comparison, Metric, archs_of, records
from worldwidth.core.files import write_text
from worldwidth.core.text import MINUS, count, listed, plural, printable, seeds
from worldwidth.plots.heatmap import SCORE, SIGNED, CellSize, Panel, Scale, draw_panels
from worldwidth.plots.lines import draw_curves, draw_scores
from worldwidth.plots.svg import inline_svg
from worldwidth.plots.widths import Block, change_panel, mean_panel, missing_models, retention_blocks, study_blocks
from worldwidth.report.sentences import compute_caveat, headline, limits, terms
from worldwidth.report.tables import (
    compute_rows,
    headings,
    in_prose,
    pair_tests,
    sizes,
    trend_tests,
    verdicts,
    width_rows,
)

TEMPLATE = Path("templates/report.html.j2")
_CELL = CellSize(width=34, height=30, font=11, beside=10)
_COLUMNS = 3  # matrices in a row; two where that leaves one alone


def write_report(comparison: Comparison, provenance: dict[str, Any], path: Path, root: Path = Path()) -> None:
    """Write the report to ``path``.

    Args:
        provenance: worldwidth_commit, params, versions, machine, time, experiments.
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
    environment.filters |= {"count": count, "listed": listed}
    page = environment.get_template(TEMPLATE.name).render(
        comparison=comparison,
        scale=comparison.settings.selected,
        terms=terms(comparison),
        seeds_text=seeds(comparison.runs.groupby(["budget", "arch"]).size()),
        sizes=sizes(comparison),
        fine_tunes=_fine_tunes(comparison),
        meanings=_meanings(comparison.metrics),
        headings=headings(comparison.metrics),
        arms=[_arm(comparison, budget) for budget in comparison.budgets],
        scores_chart=inline_svg(draw_scores(comparison), "scores", "Headline metrics against parameters and FLOPs"),
        curves_chart=inline_svg(draw_curves(comparison), "curves", "Pre-training loss against FLOPs and tokens"),
        limits=limits(comparison),
        experiments=_experiments(comparison, provenance),
        provenance=provenance,
        tables=COMPARISON.as_posix(),
        score_bar=_color_bar(SCORE),
        signed_bar=_color_bar(SIGNED),
    )
    write_text(path, page)


def _shown(value: Any) -> Any:
    """What an expression of the template gives; HTML is escaped after this, invisible characters here."""
    return printable(value, keep="\n\t\N{NO-BREAK SPACE}") if type(value) is str else value


def _arm(comparison: Comparison, budget: str) -> dict[str, Any]:
    """What the template shows for one budget."""
    kept = {name: metric for name, metric in comparison.metrics.items() if metric.matrix == RETENTION}
    archs, blocks = archs_of(comparison, budget), study_blocks(comparison.settings)
    return {
        "budget": budget,
        "title": BUDGETS[budget],
        "archs": archs,
        "headline": headline(comparison, budget),
        "caveat": compute_caveat(comparison, budget),
        "compute": compute_rows(comparison, budget),
        "widths": width_rows(comparison, budget, comparison.metrics),
        "trends": trend_tests(comparison, budget),
        "pairs": pair_tests(comparison, budget),
        "columns": 2 if len(archs) in (2, 4) else min(len(archs), _COLUMNS),
        "matrices": {block.title: list(_matrices(comparison, budget, block)) for block in blocks},
        "signed": [block.title for block in blocks if block.scale == SIGNED],
        "changes": list(_changes(comparison, budget, blocks)),
        "retention": {
            block.title: list(_matrices(comparison, budget, block)) for block in retention_blocks(comparison.settings)
        },
        "retention_headings": headings(kept),
        "retention_widths": width_rows(comparison, budget, kept),
        "verdicts": verdicts(comparison, budget),
    }


def _matrices(comparison: Comparison, budget: str, block: Block) -> Iterator[tuple[str, str, Markup]]:
    """A matrix of every width: the width, what is missing, the drawing."""
    for i, arch in enumerate(archs_of(comparison, budget)):
        drawing = _drawn(mean_panel(comparison, budget, arch, block), block, f"{budget}-{i}", arch)
        yield arch, _missing(comparison, budget, block, arch), drawing


def _changes(comparison: Comparison, budget: str, blocks: list[Block]) -> Iterator[tuple[str, str, Markup]]:
    """How the cells differ between the ends, with intervals; nothing where the ends share no seed."""
    archs = archs_of(comparison, budget)
    ends = archs[0], archs[-1]
    if records(comparison.cell_differences, budget=budget, arch=ends[0], other=ends[1]):
        for block in blocks:
            panel = change_panel(comparison, budget, *ends, block)
            drawing = _drawn(panel, block, f"{budget}-change", f"{ends[1]} {MINUS} {ends[0]}")
            yield block.title, _missing(comparison, budget, block, *ends), drawing


def _missing(comparison: Comparison, budget: str, block: Block, *archs: str) -> str:
    remarks = missing_models(comparison, budget, *archs)
    trained = comparison.settings.finetunes
    return "; ".join(f"{' + '.join(trained[model])}: {remarks[model]}" for model in block.models if model in remarks)


def _drawn(panel: Panel, block: Block, name: str, what: str) -> Markup:
    name = re.sub(r"\W+", "-", f"{block.matrix}-{block.title}-{name}")
    return inline_svg(draw_panels([[panel]], _CELL, bars=False), name, f"{block.title}, {what}")


def _color_bar(scale: Scale) -> Markup:
    """The scale as a gradient in CSS."""
    return Markup(f"linear-gradient(to right, {', '.join(scale.shades(11))})")


def _fine_tunes(comparison: Comparison) -> str:
    """``7 on 1 task and 6 on 2 tasks``."""
    counts = [len(trained) for trained in comparison.settings.finetunes.values()]
    return listed(f"{counts.count(n)} on {plural(n, 'task')}" for n in sorted(set(counts)))


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
                "run": f"{run['arch']}, {run['budget']}, seed {run['seed']}" if run else "",
                "cells": f"{run['cells_measurable']} of {run['cells']}" if run else "",
                "missing": run["missing_models"].replace(" ", ", ") if run else "",
            }
        )
    return found
