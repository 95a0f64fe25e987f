"""LaTeX tables of a comparison. `pytest tests/test_latex.py`."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from fake_runs import fake_runs
from worldwidth.comparison.latex import write_latex
from worldwidth.comparison.tables import Comparison, compare, records
from worldwidth.settings.load import load

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    settings = replace(
        load(ROOT / "params.yaml"),
        finetunes={"ftwb1-1": ("distance",), "ftwb1-4": ("compass",), "ftwb0-0": ()},
    )
    return compare(fake_runs(settings, archs=("narrow", "wide"), seeds=(1, 2)))


@pytest.fixture
def text(comparison: Comparison, tmp_path: Path) -> str:
    return write_latex(comparison, tmp_path).read_text(encoding="utf-8")


def table(text: str, label: str) -> list[list[str]]:
    """The cells of the table of that label, its heading first."""
    body = text.split(f"\\label{{{label}}}")[1].split("\\end{table}")[0]
    rows = [line.removesuffix(r" \\").strip() for line in body.splitlines() if line.endswith(r"\\")]
    return [[cell.strip() for cell in row.split(" & ")] for row in rows]


def test_the_tables_are_whole_latex(text: str) -> None:
    assert text.count("{") == text.count("}")
    for rule in ("toprule", "midrule", "bottomrule", "end{table}"):
        assert text.count(f"\\{rule}") == text.count(r"\begin{table}") >= 2
    assert text.isascii(), "every sign has its command"
    assert not re.search(r"(?<!\\)[%_#]", text.partition("\n")[2]), "nothing is a comment or an index"


def test_the_headline_holds_what_the_means_are(comparison: Comparison, text: str) -> None:
    heading, *rows = table(text, "tab:scores-0")
    assert heading == ["metric", "narrow", "wide"]
    (row,) = [row for row in rows if row[0] == "FTWB1 trained"]
    for level, cell in zip(("narrow", "wide"), row[1:], strict=True):
        (mean,) = records(comparison.means, level=level, metric="ftwb1_trained")
        half = (mean["high"] - mean["low"]) / 2
        assert cell == rf"{mean['mean']:.2f} $\pm$ {half:.2f}".replace("-", "$-$")


def test_raw_scores_are_in_the_units_of_their_task(comparison: Comparison, text: str) -> None:
    heading, *rows = table(text, "tab:raw-0")
    assert heading == ["asked", "trained on", "narrow", "wide"]
    (cell,) = records(comparison.cells, level="wide", matrix="ftwb1", model="ftwb1-4", task="compass")
    own = next(row for row in rows if row[:2] == ["compass", "compass"])
    assert own[3] == f"{cell['raw']:.3f}"
    (cell,) = records(comparison.cells, level="narrow", matrix="ftwb0", task="distance")
    assert next(row for row in rows if row[:2] == ["distance", "control"])[2] == f"{cell['raw']:.1f}"
