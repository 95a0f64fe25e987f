"""How every figure looks: on a printed page 17 cm wide, one palette, one set of sizes, the same bytes every time.

Texts and axes are in two colours, ``INK`` and ``FAINT``, which a page may replace in dark mode; nothing is white.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path

from worldwidth.core.files import replacing

PAGE = 72 * 17 / 2.54
"""Width of a figure in points: that of a printed page's text, so that font sizes are the printed ones."""
INK, FAINT, HATCH = "#1a1a1a", "#555555", "#b5b5b5"
COLORS = ("#0072b2", "#e69f00", "#cc79a7", "#009e73", "#d55e00", "#56b4e9")  # Okabe and Ito's palette
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))
"""Of lines that no order gives a colour: in this order, and again from the first."""
SMALL, TEXT, HEADING = 6.0, 6.5, 8.0
"""Sizes of fonts in points: of numbers and captions, of names, and of the figure's title."""
STYLE: list[Any] = [
    "default",  # whatever was set since
    {
        "font.family": "DejaVu Sans",
        "font.size": SMALL,
        "axes.titlesize": TEXT,
        "axes.labelsize": TEXT,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "axes.linewidth": 0.5,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "figure.dpi": 200,
        "legend.fontsize": TEXT,
        "legend.frameon": False,
    },
]
"""To draw in: ``plt.style.context(STYLE)``, as a decorator or a context."""

Rgb = tuple[float, float, float]


def save_figure(name: str, draw: Callable[[], Figure], folder: Path) -> Path:
    """Draw a figure and write it as PNG; the bytes depend on the data alone (no date, no version inside)."""
    path = folder / f"{name}.png"
    with plt.style.context(STYLE), replacing(path) as temporary:
        metadata = {"Software": None}
        draw().savefig(temporary, format="png", metadata=metadata, bbox_inches="tight", facecolor="white")
    return path


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, its size in points."""
    return Figure((width / 72, height / 72), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0))


def frame(figure: Figure, title: str, caption: list[str]) -> None:
    """Write the title above and the caption below, wrapped to the figure's width; make room for both."""
    width, height = 72 * figure.get_size_inches()
    width = max(width, 0.6 * PAGE)
    heading = wrapped(title, 0.97 * width, HEADING, "bold")
    text = "\n".join(wrapped(line, 0.97 * width, SMALL) for line in caption if line)
    height += 1.25 * (HEADING * (heading.count("\n") + 1) + SMALL * (text.count("\n") + 1)) + 6
    figure.set_size_inches(width / 72, height / 72)
    figure.suptitle(heading, x=0.008, ha="left", fontsize=HEADING, weight="bold")
    figure.supxlabel(text, x=0.008, ha="left", fontsize=SMALL, color=FAINT)


def wrapped(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Lines as long as ``width`` points allow."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


@cache
def text_width(line: str, size: float, weight: str = "normal") -> float:
    """How wide one line is, in points."""
    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0])


def plain(axes: Axes) -> None:
    """Ticks, grid and frame of a panel with lines or points."""
    axes.tick_params(which="both", color=FAINT, labelcolor=INK, labelsize=SMALL, length=2, width=0.5)
    axes.grid(alpha=0.25, linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)


def width_colors(archs: tuple[str, ...]) -> dict[str, Any]:
    """Purple to orange, narrow to wide: plasma without its ends, to be seen on white and on black."""
    shades = np.linspace(0.2, 0.8, len(archs)) if len(archs) > 1 else [0.2]
    return dict(zip(archs, matplotlib.colormaps["plasma"](shades), strict=True))


def ink_on(color: Rgb) -> str:
    """Black or white, whichever has more contrast: cells keep their colours in dark mode, so this is not ``INK``."""
    return "#010101" if contrast(color, (0.0, 0.0, 0.0)) >= contrast(color, (1.0, 1.0, 1.0)) else "#ffffff"


def contrast(one: Rgb, other: Rgb) -> float:
    """Contrast ratio as WCAG defines it: 1 to 21."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(color: Rgb) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
