"""Colours of the report's cells: those of the figures, in steps, with a version for dark pages; ink that is legible.

A cell names its step by a class (``s0`` to ``s20`` for scores, ``d0`` to ``d20`` for differences); the page's
style sheet says what that looks like in each theme.
"""

from collections.abc import Iterator

import matplotlib
import numpy as np

STEPS = 20
SCORES, DIFFERENCES = (0.0, 1.0), (-0.5, 0.5)
Rgb = tuple[float, float, float]
_INKS: tuple[Rgb, ...] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_NIGHT: Rgb = (0.17, 0.18, 0.2)  # what a difference of 0 looks like on a dark page
_DIM = 0.155  # the brightest that a cell may be there


def step_class(value: float, is_difference: bool) -> str:
    """The class of a value; beyond the scale's ends it is that of the end."""
    low, high = DIFFERENCES if is_difference else SCORES
    step = round(float(np.clip((value - low) / (high - low), 0, 1)) * STEPS)
    return f"{'d' if is_difference else 's'}{step}"


def luminance(color: Rgb) -> float:
    """Relative luminance as WCAG defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Rgb, other: Rgb) -> float:
    """Contrast ratio as WCAG defines it: 1 to 21."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def colors(is_dark: bool) -> dict[str, tuple[Rgb, Rgb]]:
    """class -> background and ink."""
    found: dict[str, tuple[Rgb, Rgb]] = {}
    for step in range(STEPS + 1):
        for letter, name in (("s", "RdYlGn"), ("d", "RdBu")):
            color = _step_color(name, step / STEPS, is_dark)
            found[f"{letter}{step}"] = color, max(_INKS, key=lambda ink, color=color: contrast(ink, color))  # type: ignore[misc]
    return found


def style_rules(is_dark: bool) -> str:
    """The colours as CSS."""
    return "\n".join(_rules(is_dark))


def _rules(is_dark: bool) -> Iterator[str]:
    for name, (background, ink) in colors(is_dark).items():
        yield f".{name}{{background:{_hex(background)};color:{_hex(ink)}}}"


def _step_color(colormap: str, position: float, is_dark: bool) -> Rgb:
    if not is_dark:
        return _of(colormap, position)
    if colormap == "RdBu":  # towards the dark in the middle, not towards white
        end = _dimmed(_of(colormap, 0.12 if position < 0.5 else 0.88))
        return _mixed(_NIGHT, end, 2 * abs(position - 0.5))
    return _dimmed(_mixed(_of(colormap, position), _NIGHT, 0.2))


def _of(colormap: str, position: float) -> Rgb:
    red, green, blue, _ = matplotlib.colormaps[colormap](position)
    return float(red), float(green), float(blue)


def _mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue


def _dimmed(color: Rgb) -> Rgb:
    while luminance(color) > _DIM:
        red, green, blue = color
        color = red * 0.97, green * 0.97, blue * 0.97
    return color


def _hex(color: Rgb) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in color)
