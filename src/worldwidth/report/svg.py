"""Figures as SVG inside the page: the same bytes every time, in the page's fonts and colours."""

import io
import re
from typing import Any

import matplotlib.pyplot as plt
from markupsafe import Markup
from matplotlib.figure import Figure

from worldwidth.plots.figures import FAINT, INK

_FONTS = "system-ui, sans-serif"
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "worldwidth"}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def inline_svg(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an ``<svg>`` element.

    Args:
        name: put before its ids, so that those of several figures on one page stay apart.
        label: what it shows, for those who do not see it.
    """
    file = io.StringIO()
    with plt.rc_context(_STYLE):
        figure.savefig(file, format="svg", metadata=_NO_METADATA, transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)  # a style would be that of the whole page
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    opening, _, drawing = svg.partition(">")
    opening = re.sub(r' (width|height)="[^"]*"', "", opening).removeprefix("<svg")
    for color, variable in ((INK, "--ink"), (FAINT, "--muted")):
        drawing = re.sub(color, f"var({variable})", drawing, flags=re.IGNORECASE)
    drawing = drawing.replace("'DejaVu Sans'", _FONTS)
    lines = 'stroke-linejoin="round" stroke-linecap="butt"'
    return Markup('<svg role="img" aria-label="{}" {}{}>{}').format(
        label, Markup(lines), Markup(opening), Markup(drawing)
    )
