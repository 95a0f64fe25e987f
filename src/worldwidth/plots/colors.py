"""Colours of archs, the same in every figure that has them; apart from style.py, on which the stage `plots` depends."""

from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np

from worldwidth.comparison.axes import ARCH, Axis
from worldwidth.plots.style import width_colors
from worldwidth.settings.schema import Settings


def arch_colors(archs: Iterable[Settings]) -> dict[str, Any]:
    """A colour an arch: purple to orange by width those of one depth, greens what is deeper, blues the shallower.

    Args:
        archs: the settings of a run of each.
    """
    runs = {settings.arch: settings for settings in archs}
    axis = Axis.of(ARCH, list(runs.values()))
    depths = {arch: runs[arch].sizes.num_hidden_layers for arch in axis.levels}
    usual = depths[next(iter(axis.sizes))]
    found = width_colors(tuple(axis.sizes))
    for shades, others in (
        ("Greens", [arch for arch in axis.levels if depths[arch] > usual]),
        ("Blues", [arch for arch in axis.levels if depths[arch] < usual]),
    ):
        places = np.linspace(0.65, 0.9, len(others)) if len(others) > 1 else [0.65]
        found |= dict(zip(others, matplotlib.colormaps[shades](places), strict=False))
    return {arch: found[arch] for arch in axis.levels}
