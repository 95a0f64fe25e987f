"""A comparison's transfer patterns: the correlation of every two runs, ordered by level."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from worldwidth.comparison.patterns import DRAWN, WITHIN, in_words
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import is_number, plural
from worldwidth.plots.heatmap import Mark, Panel, Scale, draw_panels
from worldwidth.plots.style import STYLE, frame

CORRELATION = Scale("RdBu", -1.0, 1.0, "correlation")
_SIDE_BY_SIDE = 13
"""As many runs fit twice on a page."""
Run = tuple[str, int, int]
"""(level, seed, Atlantis seed)."""


@plt.style.context(STYLE)
def draw_patterns(comparison: Comparison, arm: str) -> Figure:
    """The headline beside the scores as measured; runs of one level outlined, a run's reliability on the diagonal."""
    panels = [_panel(comparison, arm, *kind) for kind in DRAWN]
    stacked = len(panels[0].rows) > _SIDE_BY_SIDE
    figure = draw_panels([[panel] for panel in panels] if stacked else [panels])
    title = f"Do runs of one {comparison.axis.noun} transfer alike?  ({comparison.words(arm)}; scale "
    frame(figure, f"{title}{comparison.settings.scale})", _caption(comparison, arm))
    return figure


def _panel(comparison: Comparison, arm: str, scores: str, kind: str) -> Panel:
    rows = records(comparison.patterns, arm=arm, matrix=_matrix(comparison), scores=scores, kind=kind)
    runs = [_run(row) for row in rows if row["pair"] == "itself"]
    marks: dict[tuple[Run, Run], Mark] = {}
    for row in rows:
        one, other = _run(row), _run(row, "other_")
        value = row["correlation"] if is_number(row["correlation"]) else None
        mark = Mark(value, outlined=row["pair"] in (WITHIN, "itself"))
        marks |= {(one, other): mark, (other, one): mark}
    labels = tuple(_label(run, runs) for run in runs)
    return Panel(
        rows=labels,
        columns=tuple(label.replace(" ", "\n", 1) for label in labels),
        marks=tuple(tuple(marks[one, other] for other in runs) for one in runs),
        scale=CORRELATION,
        title=f"{scores}, {kind}",
    )


def _matrix(comparison: Comparison) -> str:
    """The first matrix of single-task models."""
    return str(comparison.patterns["matrix"].iloc[0])


def _run(row: dict[str, Any], prefix: str = "") -> Run:
    return row["other" if prefix else "level"], row[f"{prefix}seed"], row[f"{prefix}atlantis_seed"]


def _label(run: Run, runs: Sequence[Run]) -> str:
    """The level and the seed, and the Atlantis seed where one seed has several."""
    level, seed, draw = run
    several = len({other[2] for other in runs if other[1] == seed}) > 1
    return f"{level} {seed}{f'-{draw}' if several else ''}"


def _caption(comparison: Comparison, arm: str) -> list[str]:
    (test,) = records(comparison.pattern_tests, arm=arm, matrix=_matrix(comparison), headline=True)
    noun, cells, matrix = comparison.axis.noun, plural(test["cells"], "cell"), _matrix(comparison).upper()
    return [
        f"Rows and columns: runs, by {noun} and seed. Correlation over {cells} of {matrix} (tasks not trained). "
        f"Outlined: the same {noun}. On the diagonal: the reliability of a run's pattern, the share that is not noise "
        "of test lines.",
        in_words(test, noun),
        "Runs of one seed share Atlantis and test lines: these pairs do not count in the test.",
    ]
