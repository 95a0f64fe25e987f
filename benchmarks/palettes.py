"""How far the colours of archs are from their page and from each other, for all eyes: `python benchmarks/palettes.py`.

Writes docs/results/palettes.csv: contrast with the page (WCAG 2) and the smallest difference (CIEDE2000) from another
colour, as it is and as the colour-blind see it; for the colours of scores, the smallest between values 0.2 apart.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from worldwidth.core.files import write_text
from worldwidth.plots.heatmap import SCORE, Scale
from worldwidth.plots.style import COLORS, PAGES, contrast
from worldwidth.settings.schema import COLOURS

TABLE = Path("docs/results/palettes.csv")
Floats = NDArray[np.float64]
EYES = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
"""Linear sRGB as those see it who lack a cone (Machado, Oliveira and Fernandes 2009, severity 1)."""
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(color: str, eyes: str = "normal") -> Floats:
    """(3,) CIELAB of a colour in hexadecimal, D65, as some eyes see it."""
    srgb = np.array(to_rgb(color))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = _XYZ @ np.clip(EYES[eyes] @ linear, 0, 1) / _WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(one: Floats, other: Floats) -> float:
    """CIEDE2000 of two colours in CIELAB (Sharma, Wu and Dalal 2005)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = h1 + h2 if c1 * c2 == 0 else (h1 + turn / 2) % 360
    t = 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue) + 0.32 * _cos(3 * hue + 6) - 0.2 * _cos(4 * hue - 63)
    of_light = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    of_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    of_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    spread = 30 * np.exp(-(((hue - 275) / 25) ** 2))
    rotation = -np.sin(np.radians(2 * spread)) * 2 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    return float(np.sqrt(of_light**2 + of_chroma**2 + of_hue**2 + rotation * of_chroma * of_hue))


def _cos(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def closest(colors: list[str], eyes: str) -> float:
    """The smallest difference of two of them."""
    seen = [lab(color, eyes) for color in colors]
    return min(difference(one, other) for one, other in combinations(seen, 2))


def palettes() -> pd.DataFrame:
    """One row a palette: archs on both pages, and the colours of scores."""
    rows = []
    for i, (theme, page) in enumerate(PAGES.items()):
        colors = [pair[i] for pair in COLORS]
        least = min(contrast(to_rgb(color), to_rgb(page)) for color in colors)
        rows.append({"palette": "archs", "page": theme, "least_contrast": least} | _distances([colors]))
    for name in COLOURS:
        shades = [color for color, _ in Scale(name, SCORE.low, SCORE.high, "").shades(11)]
        near = [[shades[i], shades[i + 2]] for i in range(9)]
        inks = [contrast(to_rgb(color), to_rgb(ink)) for color, ink in Scale(name, 0, 1, "").shades(101)]
        rows.append({"palette": name, "page": "cell", "least_contrast": min(inks)} | _distances(near))
    return pd.DataFrame(rows)


def _distances(groups: list[list[str]]) -> dict[str, float]:
    return {f"least_difference_{eyes}": min(closest(colors, eyes) for colors in groups) for eyes in EYES}


def main() -> None:
    """Print the table, and write it."""
    table = palettes()
    write_text(TABLE, table.to_csv(index=False, lineterminator="\n", float_format="%.2f"))
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
