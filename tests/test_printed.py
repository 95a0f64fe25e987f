"""Figures for print: three formats, the same bytes, none left from before. `pytest tests/test_printed.py`."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from worldwidth.plots.printed import save_printed
from worldwidth.plots.style import STYLE, frame, new_figure


@plt.style.context(STYLE)
def drawn() -> Figure:
    figure = new_figure(200, 100)
    figure.subplots().plot([1, 3, 2])
    frame(figure, "A line", ["Of three points."])
    return figure


def test_every_figure_is_a_page_a_paper_and_a_drawing(tmp_path: Path) -> None:
    written = save_printed({"line": drawn}, tmp_path, ())
    assert [path.name for path in written] == ["line.png", "line.pdf", "line.svg"]
    assert {path.name: path.read_bytes()[:5] for path in written} == {
        "line.png": b"\x89PNG\r", "line.pdf": b"%PDF-", "line.svg": b"<?xml",
    }  # fmt: skip
    assert ">Of three points.</text>" in (tmp_path / "line.svg").read_text(), "text that an editor can edit"
    assert b"DejaVuSans" in (tmp_path / "line.pdf").read_bytes(), "a font that is in the file"


def test_the_same_figure_is_the_same_bytes(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in save_printed({"line": drawn}, tmp_path, ())]
    assert [path.read_bytes() for path in save_printed({"line": drawn}, tmp_path, ())] == first
    assert not any(b"20" + year in text for text in first[1:] for year in (b"25-", b"26-", b"27-")), "no date"


def test_what_is_no_longer_drawn_is_removed(tmp_path: Path) -> None:
    for name in ("maps-old.png", "maps-old.pdf", "maps-old.svg", "maps-old.csv", "other.png"):
        (tmp_path / name).touch()
    save_printed({"maps-new": drawn}, tmp_path, ("maps-*",))
    assert {path.name for path in tmp_path.iterdir()} == {
        "maps-new.png", "maps-new.pdf", "maps-new.svg", "maps-old.csv", "other.png",
    }  # fmt: skip
