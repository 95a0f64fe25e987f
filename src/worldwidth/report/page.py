"""The report: one HTML file that says what a comparison of widths found; it needs no network and no script."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from worldwidth.comparison.export import COMPARISON
from worldwidth.comparison.runs import RETENTION
from worldwidth.comparison.tables import Comparison, Metric
from worldwidth.core.files import write_text
from worldwidth.evaluation.scores import DIFFERENCE, matrix_names
from worldwidth.plots.lines import draw_curves, draw_scores
from worldwidth.report.conclusions import by_task, limits, told, untold
from worldwidth.report.format import count, in_prose, listed, plural, records
from worldwidth.report.matrices import heats, widest_minus_narrowest
from worldwidth.report.sentences import BUDGETS, answers, compute_text, seeds_text, terms
from worldwidth.report.svg import inline_svg
from worldwidth.report.tables import archs_of, compute_rows, headings, pair_tests, sizes, trend_tests, width_rows
from worldwidth.report.theme import STEPS, style_rules

TEMPLATE = Path("templates/report.html.j2")
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
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": count, "listed": listed}
    page = environment.get_template(TEMPLATE.name).render(
        comparison=comparison,
        scale=comparison.settings.selected,
        answers=answers(comparison),
        terms=terms(comparison),
        seeds_text=seeds_text(comparison),
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
        steps=range(STEPS + 1),
        light_cells=Markup(style_rules(is_dark=False)),
        dark_cells=Markup(style_rules(is_dark=True)),
    )
    write_text(path, page)


def _arm(comparison: Comparison, budget: str) -> dict[str, Any]:
    """What the template shows for one budget."""
    kept = {name: metric for name, metric in comparison.metrics.items() if metric.matrix == RETENTION}
    names = matrix_names(comparison.settings.finetunes)
    study = [name for name in names if name != DIFFERENCE]
    changes = {name: widest_minus_narrowest(comparison, budget, name) for name in study}
    archs = archs_of(comparison, budget)
    return {
        "budget": budget,
        "title": BUDGETS[budget],
        "archs": archs,
        "compute": compute_rows(comparison, budget),
        "compute_text": compute_text(comparison, budget),
        "widths": width_rows(comparison, budget, comparison.metrics),
        "trends": trend_tests(comparison, budget),
        "pairs": pair_tests(comparison, budget),
        "columns": 2 if len(archs) in (2, 4) else min(len(archs), _COLUMNS),
        "matrices": {name.upper(): heats(comparison, budget, name) for name in study},
        "expected": heats(comparison, budget, DIFFERENCE) if DIFFERENCE in names else [],
        "changes": {name.upper(): change for name, change in changes.items() if change},
        "retention": heats(comparison, budget, RETENTION),
        "retention_headings": headings(kept),
        "retention_widths": width_rows(comparison, budget, kept),
        "told": told(comparison, budget),
        "untold": untold(comparison, budget),
        "by_task": by_task(comparison, budget),
    }


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
