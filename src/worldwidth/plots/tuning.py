"""The figure of a tuning: trained skill against the learning rate of fine-tuning, a curve an arch."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from worldwidth.plots.style import INK, PAGE, STYLE, arch_looks, frame, new_figure, plain
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
    looks = {arch: look for arch, look in arch_looks(settings).items() if (table["arch"] == arch).any()}
    handles: list[Line2D] = []
    for arch, look in looks.items():
        own = table[(table["arch"] == arch) & np.isfinite(table["skill"])].sort_values("learning_rate")
        line = axes.errorbar(
            own["learning_rate"], own["skill"], yerr=own["standard_error"], ms=3, lw=1.2, elinewidth=0.7, label=arch,
            **look.dots,
        ).lines[0]  # fmt: skip
        best = own[own["chosen"]]
        axes.plot(best["learning_rate"], best["skill"], "o", ms=8, mew=1.2, mfc="none", mec=look.color, zorder=3)
        handles.append(line)
    rates = sorted(table["learning_rate"].unique())
    axes.set(xscale="log", xlabel="learning rate of fine-tuning", ylabel="skill trained, on validation lines")
    axes.xaxis.set_major_locator(FixedLocator(rates))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: shortest(float(f"{rate:.3g}"))))
    axes.xaxis.set_minor_locator(NullLocator())
    plain(axes)
    handles.append(Line2D([], [], color=INK, ls="none", marker="o", ms=8, mew=1.2, mfc="none"))
    figure.legend(handles, [*looks, "chosen"], loc="outside right center")
    frame(figure, title, caption)
    return figure
