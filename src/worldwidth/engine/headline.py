"""What a finished study comes to: its headline numbers, where its figures are, and what to do next."""

from typing import Any

from worldwidth.core.files import read_json
from worldwidth.core.text import NOT_MEASURABLE, is_number, number
from worldwidth.settings.paths import PLOTS, SUMMARY

_COUNTS = {"0": "no task: the control", "1": "one task", "2": "two tasks"}
_NEXT = """next: `worldwidth widths` runs every arch as an experiment,
      `worldwidth compare` compares them,
      `git add --all && git commit` keeps this study"""


def print_headline() -> None:
    """Print the means of results/summary.json, and what to look at.

    Raises:
        WorldwidthError: the file is damaged.
    """
    for line in headline(read_json(SUMMARY, "run `dvc repro summarize`")):
        print(line)
    figures = [path for path in (PLOTS / "ftwb1.png", PLOTS / "ftwb2.png") if path.is_file()]
    if figures:
        print(f"\nfigures: {', '.join(map(str, figures))}")
    print(_NEXT)


def headline(summary: dict[str, Any]) -> list[str]:
    """A table of the scores: a row for each group of models, for the tasks they were trained on and for the others."""
    groups = {name: values for name, values in summary.items() if isinstance(values, dict) and "cells" in values}
    lines = ["", f"{'score: 0 as before, 1 as on ordinary cities':<46} {'trained':>15} {'other tasks':>15}"]
    for name, values in sorted(groups.items(), key=lambda item: not item[0].startswith("ftwb")):
        lines.append(f"{_title(name):<46} {_score(values, 'trained'):>15} {_score(values, 'transfer'):>15}".rstrip())
    cells = [(values["measurable"], values["cells"]) for values in groups.values()]
    measurable, there = (sum(column) for column in zip(*cells, strict=True)) if cells else (0, 0)
    lines.append(f"one seed; ±: standard error over test lines; {measurable} of {there} cells measurable")
    return lines


def _title(name: str) -> str:
    if name == "difference":
        return "two tasks minus the better single one"
    kind, tasks = name[:-1], name[-1]
    on = _COUNTS.get(tasks, f"{tasks} tasks")
    return f"{name}: {'new embeddings alone, from' if kind == 'plug' else 'fine-tuned on'} {on}"


def _score(values: dict[str, Any], block: str) -> str:
    """``0.93 ± 0.02``; empty where the group has no such block."""
    if block not in values:
        return ""
    error = values.get(f"{block}_se")
    shown = number(values[block], 2)
    return shown if shown == NOT_MEASURABLE or not is_number(error) else f"{shown} ± {error:.2f}"
