"""The report's sections on how tasks help and harm each other, on patterns of transfer, and on what scores cost."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup

from worldwidth.comparison.axes import in_file_name
from worldwidth.comparison.divergence import CONTRAST
from worldwidth.comparison.tables import Comparison, records
from worldwidth.comparison.transfer_tables import (
    Row,
    divergence_rows,
    efficiency_rows,
    giver_rows,
    pattern_rows,
    pattern_words,
)
from worldwidth.core.text import listed, number
from worldwidth.evaluation.scores import DIVERGENT
from worldwidth.plots.divergence import draw_divergence, draw_givers
from worldwidth.plots.efficiency import draw_efficiency
from worldwidth.plots.patterns import draw_patterns
from worldwidth.plots.svg import inline_svg


@dataclass(frozen=True)
class Section:
    """A heading, what was found in a sentence or two, its charts and tables."""

    id: str
    title: str
    sentences: list[str]
    charts: list[Markup]
    tables: list[tuple[str, list[Row]]]
    """Captions and rows."""


def transfer_sections(comparison: Comparison) -> list[Section]:
    """Those that the runs allow."""
    found = []
    if not comparison.divergence.empty:
        charts = [inline_svg(draw_divergence(comparison), "divergence", f"Gain of pairs with and without {DIVERGENT}")]
        title, tables = (
            f"Does {DIVERGENT} harm what is learned beside it?",
            _tables(comparison, divergence_rows, "gain"),
        )
        found.append(Section("divergence", title, [_divergence_words(comparison)], charts, tables))
    if not comparison.givers.empty:
        charts = [inline_svg(draw_givers(comparison), "givers", "What every task gives and takes")]
        said = "A task gives what its model scores in the others, and takes what the others' models score in it."
        tables = _tables(comparison, giver_rows, "transfer")
        found.append(Section("givers", "What tasks give and take", [said], charts, tables))
    if not comparison.patterns.empty:
        found.append(_patterns(comparison))
    if not comparison.efficiency.empty:
        charts = [inline_svg(draw_efficiency(comparison), "efficiency", "Scores against parameters and FLOPs")]
        said = (
            "A point is on the frontier where no other one has at least its mean score for at most its cost: by "
            "parameters (P), by all training FLOPs (F). The means alone decide; intervals are in the chart, and in how "
            "many single seeds a point is there in efficiency.csv."
        )
        tables = [("Costs, scores and frontiers", list(efficiency_rows(comparison)))]
        found.append(Section("efficiency", "What scores cost", [said], charts, tables))
    return found


def _patterns(comparison: Comparison) -> Section:
    arms = [arm for arm in comparison.arms if records(comparison.patterns, arm=arm)]
    charts = [
        inline_svg(
            draw_patterns(comparison, arm, bars=False), f"patterns-{in_file_name(arm)}", f"Runs correlated, {arm}"
        )
        for arm in arms
    ]
    said = [
        "A pattern is what each task takes from which other one: the scores of single-task models in tasks that they "
        "were not trained in, standardised by evaluated task. If it belonged to "
        f"the {comparison.axis.noun}, two runs of one would be more alike than two runs of two.",
        *(f"{_of_arm(comparison, arm)}{words}" for arm in arms for words in pattern_words(comparison, arm)),
    ]
    tables = _tables(comparison, pattern_rows, "mean correlation of two runs")
    return Section("patterns", f"Do patterns of transfer go with the {comparison.axis.noun}?", said, charts, tables)


def _divergence_words(comparison: Comparison) -> str:
    """What pairs gain less with the divergent task than without it, in other tasks, at every level."""
    parts = []
    for arm in comparison.arms:
        rows = records(comparison.divergence, arm=arm, tasks="other", pairs=CONTRAST)
        values = listed(f"{number(row['mean'], 2, sign=True)} ({row['level']})" for row in rows)
        parts.append(f"{values} under {arm}" if len(comparison.arms) > 1 else values)
    return (
        "A pair's gain is its score minus that of the better of its two single-task models. Gain of pairs with "
        f"{DIVERGENT} minus that of pairs without it, in tasks not trained: {'; '.join(parts)}."
    )


def _of_arm(comparison: Comparison, arm: str) -> str:
    return f"{arm[:1].upper()}{arm[1:]}: " if len(comparison.arms) > 1 else ""


def _tables(
    comparison: Comparison, rows: Callable[[Comparison, str], Iterable[Row]], what: str
) -> list[tuple[str, list[Row]]]:
    """The rows of every arm that has some, with a caption."""
    found = {arm: list(rows(comparison, arm)) for arm in comparison.arms}
    several = len(comparison.arms) > 1
    caption = f"{what[:1].upper()}{what[1:]}, mean ± half of the 95 % interval"
    caption = caption if rows is not pattern_rows else f"{what[:1].upper()}{what[1:]}"
    return [(f"{caption}, {arm}" if several else caption, of_arm) for arm, of_arm in found.items() if of_arm]
