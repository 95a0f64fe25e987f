"""Figures as files for a page, a paper and a vector editor: PNG, PDF and SVG, the same bytes every time.

Apart from style.py, on which the stage `plots` depends: DVC keeps the PNG alone.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from worldwidth.core.files import replacing
from worldwidth.plots.style import STYLE, save_figure

_FORMATS: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}
"""Format -> what would tell when and by what a file was made."""
_TEXT: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "worldwidth"}  # text stays text


def save_printed(figures: Mapping[str, Callable[[], Figure]], folder: Path, kinds: Iterable[str]) -> list[Path]:
    """Draw figures and write each as NAME.png, NAME.pdf and NAME.svg.

    Args:
        figures: by name.
        kinds: patterns of names; figures of an earlier drawing that match one, and are not drawn now, are removed.
    """
    written = [path for name, draw in figures.items() for path in _save(name, draw, folder)]
    suffixes = ("png", *_FORMATS)
    there = {path for kind in kinds for suffix in suffixes for path in folder.glob(f"{kind}.{suffix}")}
    for path in there - set(written):
        path.unlink()
    return written


def _save(name: str, draw: Callable[[], Figure], folder: Path) -> list[Path]:
    with plt.style.context(STYLE):
        figure = draw()
    written = [save_figure(name, lambda: figure, folder)]
    for suffix, metadata in _FORMATS.items():
        path = folder / f"{name}.{suffix}"
        with plt.style.context([*STYLE, _TEXT]), replacing(path) as temporary:
            figure.savefig(temporary, format=suffix, metadata=metadata, bbox_inches="tight", facecolor="white")
        written.append(path)
    return written
