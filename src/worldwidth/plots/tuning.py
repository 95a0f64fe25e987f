"""The figure of a tuning: trained skill against the learning rate of fine-tuning, a curve an arch."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from worldwidth.plots.colors import arch_colors
from worldwidth.plots.style import INK, PAGE, STYLE, frame, new_figure, plain
from worldwidth.settings.axes import shortest
from worldwidth.settings.schema import Settings


@plt.style.context(STYLE)
def draw_tuning(settings: Settings, table: pd.DataFrame, title: str, caption: list[str]) -> Figure:
    """Every arch's curve with its standard errors, the chosen rate ringed.

    Args:
        table: arch, learning_rate, skill, standard_error and chosen of every trial; one that diverged has no point.
    """
    figure = new_figure(PAGE, 230)
    axes = figure.subplots()
    colors = arch_colors(replace(settings, arch=arch) for arch in table["arch"].unique())
    handles: list[Line2D] = []
    for arch, color in colors.items():
        own = table[(table["arch"] == arch) & np.isfinite(table["skill"])].sort_values("learning_rate")
        line = axes.errorbar(
            own["learning_rate"], own["skill"], yerr=own["standard_error"], color=color, marker="o", ms=3, lw=1.2,
            elinewidth=0.7, label=arch,
        ).lines[0]  # fmt: skip
        best = own[own["chosen"]]
        axes.plot(best["learning_rate"], best["skill"], "o", ms=8, mew=1.2, mfc="none", mec=color, zorder=3)
        handles.append(line)
    rates = sorted(table["learning_rate"].unique())
    axes.set(xscale="log", xlabel="learning rate of fine-tuning", ylabel="trained skill on validation lines")
    axes.xaxis.set_major_locator(FixedLocator(rates))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: shortest(float(f"{rate:.3g}"))))
    axes.xaxis.set_minor_locator(NullLocator())
    plain(axes)
    handles.append(Line2D([], [], color=INK, ls="none", marker="o", ms=8, mew=1.2, mfc="none"))
    figure.legend(handles, [*colors, "chosen"], loc="outside right center")
    frame(figure, title, caption)
    return figure
