"""The answers of a half-finished study as they are, before every score can be normalised: skills and raw errors.

Apart from study.py, on which the stage `plots` depends.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from worldwidth.plots.heatmap import MARKS, Mark, Panel, Scale, draw_panels, task_label
from worldwidth.plots.study import study_title
from worldwidth.plots.style import STYLE, frame
from worldwidth.settings.schema import Settings
from worldwidth.tasks import load_task

_SKILL = Scale("RdYlGn", -1.0, 1.0, "skill")

Reports = Mapping[str, Mapping[str, Any]]
"""Model -> its evaluation: task -> population -> mean, constant_mean."""


@plt.style.context(STYLE)
def draw_raw(settings: Settings, reports: Reports) -> Figure:
    """A row for each evaluated model: the skill in every task on Atlantis, its raw mean below."""
    rows = [("base", "world")] * ("base" in reports)
    rows += [(model, "atlantis") for model in settings.models if model in reports]
    panel = Panel(
        rows=tuple(_label(settings, *row) for row in rows),
        columns=settings.tasks,
        marks=tuple(tuple(_mark(settings, *row, task, reports) for task in settings.tasks) for row in rows),
        scale=_SKILL,
    )
    figure = draw_panels([[panel]])
    caption = [
        "Coloured: skill, 0 as the best constant answer, 1 without an error. Below it the mean over test lines: the "
        f"share of right labels, or the error in the task's own unit. {MARKS}."
    ]
    frame(figure, f"Answers so far  ({study_title(settings)})", caption)
    return figure


def _label(settings: Settings, model: str, population: str) -> str:
    if model == "base":
        return "base\non ordinary cities" if population == "world" else "base\non Atlantis"
    return f"{model}\n{task_label(settings.finetunes[model])}"


def _mark(settings: Settings, model: str, population: str, task: str, reports: Reports) -> Mark:
    values = reports[model][task][population]
    mean, constant, is_label = values["mean"], values["constant_mean"], load_task(task).labels
    best, text = (1.0, f"{mean:.2f}") if is_label else (0.0, f"{mean:.3g}")
    skill = (mean - constant) / (best - constant) if constant != best else None
    return Mark(skill, below=text, trained=task in settings.finetunes.get(model, ()))
