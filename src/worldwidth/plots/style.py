"""How all that is drawn looks, in figures and in the report: colours, marks, type; the same bytes every time.

A colour is an arch's, wherever it is: two of them, for light pages and for dark. What else is told apart has marks and
dashes. Texts and axes are in ``INK`` and ``FAINT``, which a page may replace in dark mode; nothing is white. How far
colours are from their page and from each other: benchmarks/palettes.py.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from worldwidth.core.files import replacing
from worldwidth.core.text import short
from worldwidth.settings.schema import Settings

PAGE = 72 * 7.0
"""Width of a figure in points: the 7 inches of a printed page's text, so that font sizes are the printed ones."""
PAGES = {"light": "#fdfdfb", "dark": "#16181b"}
"""The report's backgrounds."""
INK, FAINT, HATCH = "#1a1a1a", "#555555", "#b5b5b5"
COLORS = (
    ("#13048e", "#6c74f5"), ("#026bc3", "#6ab0e3"), ("#b53b7a", "#fd83a1"), ("#a76409", "#f9c483"),
    ("#236a49", "#46936a"), ("#494700", "#8d9521"),
)  # fmt: skip
"""On a light page, on a dark one; the first four, of the widths, rise in lightness on both."""
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (6, 1, 1, 1, 1, 1)))
SMALL, TEXT, HEADING = 6.0, 6.5, 8.0
"""Sizes of fonts in points: of numbers and captions, the least there is; of names; and of the figure's title."""
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
        "figure.dpi": 300,
        "legend.fontsize": TEXT,
        "legend.frameon": False,
    },
]
"""To draw in: ``plt.style.context(STYLE)``, as a decorator or a context."""

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """How one of several is drawn."""

    place: int
    """Among ``COLORS``, and of the page's variable that has its colour: ``--c0``."""
    marker: str
    dashes: Any

    @property
    def color(self) -> str:
        """On a light page."""
        return COLORS[self.place][0]

    @property
    def dots(self) -> dict[str, Any]:
        """For matplotlib, of points."""
        return {"color": self.color, "marker": self.marker}


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """How those of a list are drawn: where colours begin again, the marks are others."""
    found, n = {}, len(COLORS)
    for i, name in enumerate(names):
        found[name] = Look(i % n, MARKERS[(i + i // n) % len(MARKERS)], DASHES[i // n % len(DASHES)])
    return found


def arch_looks(settings: Settings) -> dict[str, Look]:
    """How archs are drawn, everywhere: as they follow each other in params.yaml, whichever of them are compared."""
    return looks_of(settings.selected.archs)


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


def round_values(low: float, high: float) -> list[float]:
    """About five round numbers in a range, for the ticks of an axis that is not matplotlib's."""
    return [float(tick) for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]


def name_sizes(axis: Axis, decades: float, prefix: bool = True) -> None:
    """Ticks of a log axis: 1, 2 and 5 where there is room for them, 1 and 3, or powers of ten.

    Args:
        decades: how long the axis is.
        prefix: whether numbers are named as ``200 k``.
    """
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2.6 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value) if prefix else f"{value:g}"))
    axis.set_minor_locator(NullLocator())


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
