"""Figures as SVG inside the page: the same bytes every time, small, in the page's fonts and colours."""

import io
import re
from typing import Any

import matplotlib.pyplot as plt
from markupsafe import Markup
from matplotlib.figure import Figure

from worldwidth.plots.style import COLORS, FAINT, INK, STYLE

_SVG: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "worldwidth"}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_LINES = Markup('stroke-linejoin="round" stroke-linecap="butt"')
_REPLACED = (
    (r"<style.*?</style>|<!--.*?-->|<defs>\s*</defs>", ""),  # a style would be that of the whole page
    (r"(?<=>)\s+(?=<)", ""),
)
_REPLACED_IN_TAGS = (
    (r"\s*\n\s*", " "),
    (r"(\.\d\d)\d+", r"\1"),  # hundredths of a point
    (r' transform="rotate\(-0 [^"]*\)"| ?font-family: [^;"]*;', ""),
    (INK, "var(--ink)"),
    (FAINT, "var(--muted)"),
    *((light, f"var(--c{i})") for i, (light, _) in enumerate(COLORS)),
)


def inline_svg(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an ``<svg>`` element.

    Args:
        name: put before its ids, so that those of several figures on one page stay apart.
        label: what it shows, for those who do not see it.
    """
    file = io.StringIO()
    with plt.style.context([*STYLE, _SVG]):
        figure.savefig(file, format="svg", metadata=_NO_METADATA, transparent=True)
    opening, _, drawing = file.getvalue().partition("<svg")[2].partition(">")
    drawing = _replaced(drawing, _REPLACED)
    drawing = re.sub("<[^>]*>", lambda tag: _replaced(tag[0], _REPLACED_IN_TAGS), drawing)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawing))
    drawing = re.sub(r' id="([^"]*)"', lambda at: f' id="{name}-{at[1]}"' if at[1] in used else "", drawing)
    drawing = re.sub(r'(href="#|url\(#)', rf"\1{name}-", drawing)
    drawing = re.sub(r"<g>(<text[^>]*>[^<]*</text>)</g>", r"\1", drawing)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    return Markup('<svg role="img" aria-label="{}" {}{}>{}').format(label, _LINES, Markup(opening), Markup(drawing))


def _replaced(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, new in rules:
        text = re.sub(pattern, new, text, flags=re.DOTALL)
    return text
