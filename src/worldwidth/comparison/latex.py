"""The comparison as LaTeX tables for a paper (booktabs): headline metrics, the declared contrast, and raw scores."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from worldwidth.comparison.export import arm_title, score_rows
from worldwidth.comparison.primary_text import contrast_rows, pair_rows
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.files import write_text
from worldwidth.core.text import MINUS, TIMES, seeds
from worldwidth.evaluation.scores import CONTROL
from worldwidth.representation.tables import SINGLE
from worldwidth.tasks import load_task

_MATHS = {MINUS: "$-$", "±": r"$\pm$", TIMES: r"$\times$", "²": "$^2$", "<": "$<$"}
_INTERVALS = r"Means and halves of the 95\,\% intervals over replicates (Student's t)."


def write_latex(comparison: Comparison, folder: Path) -> Path:
    """Write tables.tex; it needs the package booktabs."""
    path = folder / "tables.tex"
    write_text(path, "\n".join(_tables(comparison)))
    return path


def _tables(comparison: Comparison) -> Iterator[str]:
    yield r"% \usepackage{booktabs}" + "\n"
    for title, found in (("contrast", list(contrast_rows(comparison))), ("pairs", list(pair_rows(comparison)))):
        if found:
            yield _table(found, f"The declared analysis: {title}.", f"tab:{title}")
    for i, arm in enumerate(comparison.arms):
        title = _escaped(f"{arm_title(comparison, arm)}, scale {comparison.settings.scale}")
        n = seeds(len(records(comparison.runs, arm=arm, level=level)) for level in comparison.levels(arm))
        yield _table(list(score_rows(comparison, arm)), f"{title}, {n}. {_INTERVALS}", f"tab:scores-{i}")
        if rows := list(_raw_rows(comparison, arm)):
            units = "Errors of numbers, shares of right answers elsewhere, on Atlantis, as mean over replicates"
            yield _table(rows, f"{title}, {n}. {units}.", f"tab:raw-{i}")


def _raw_rows(comparison: Comparison, arm: str) -> Iterator[dict[str, str]]:
    """For each task: the model that is fine-tuned on it alone, and the control, in the task's own unit."""
    for task in comparison.settings.tasks:
        digits = 3 if load_task(task).labels else 1
        for what, matrix, trained in ((task, SINGLE, True), ("control", CONTROL, False)):
            rows = records(comparison.cells, arm=arm, matrix=matrix, task=task, trained=trained)
            found = {row["level"]: f"{row['raw']:.{digits}f}" for row in rows}
            columns = {level: found.get(level, "") for level in comparison.levels(arm)}
            if found:
                yield {"asked": task, "trained on": what, **columns}


def _table(rows: Sequence[dict[str, str]], caption: str, label: str) -> str:
    table = pd.DataFrame(rows).map(_escaped)
    table.columns = pd.Index([_escaped(str(column)) for column in table.columns])
    return table.style.hide(axis="index").to_latex(
        hrules=True, caption=caption, label=label, position="t", column_format="l" * len(table.columns)
    )


def _escaped(text: str) -> str:
    """Text in LaTeX: of what tables hold, % _ & # and the signs of maths."""
    for sign in "%_&#":
        text = text.replace(sign, f"\\{sign}")
    for sign, maths in _MATHS.items():
        text = text.replace(sign, maths)
    return text
