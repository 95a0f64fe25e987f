"""The figure of the coordinate check: the change of activations over the first steps, a line a width."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from worldwidth.core.text import seeds
from worldwidth.plots.style import PAGE, STYLE, arch_looks, frame, new_figure, plain
from worldwidth.settings.schema import Settings


@plt.style.context(STYLE)
def draw_coordinates(settings: Settings, table: pd.DataFrame) -> Figure:
    """Parametrizations as rows; embedding, first and last layer and logits as columns; the mean over seeds.

    Args:
        table: one row a :class:`worldwidth.training.coordinates.Coordinate`, narrow to wide.
    """
    archs, rows = tuple(table["arch"].unique()), list(table["parametrization"].unique())
    places, looks = shown_places(table), arch_looks(settings)
    figure = new_figure(PAGE, 25 + 105 * len(rows))
    grid = figure.subplots(len(rows), len(places), sharex=True, sharey="col", squeeze=False)
    means = table[table["step"] > 0].groupby(["parametrization", "place", "arch", "step"])["change"].mean()
    for parametrization, panels in zip(rows, grid, strict=True):
        for place, axes in zip(places, panels, strict=True):
            for arch in archs:
                own = means.loc[parametrization, place, arch]
                axes.plot(own.index, own, color=looks[arch].color, ls=looks[arch].dashes, lw=1)
            axes.set_yscale("log")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
            plain(axes)
        panels[0].set_ylabel(f"{parametrization}\nmean absolute change")
    for place, axes in zip(places, grid[0], strict=True):
        axes.set_title(place, fontweight="bold")
    for axes in grid[-1]:
        axes.set_xlabel("steps")
    sizes = table.drop_duplicates("arch")["hidden_size"]
    labels = [f"{arch} ({size})" for arch, size in zip(archs, sizes, strict=True)]
    handles = [Line2D([], [], color=looks[arch].color, ls=looks[arch].dashes, lw=2) for arch in archs]
    figure.legend(handles, labels, loc="outside right center")
    what = "How far the first steps of pre-training move what is computed; where lines lie on each other, a rate means"
    over = f"Means over {seeds(table.groupby('arch')['seed'].nunique())}."
    frame(figure, f"Coordinate check  (scale {settings.scale})", [f"{what} the same at every width. {over}"])
    return figure


def shown_places(table: pd.DataFrame) -> list[str]:
    """The embedding, the first layer and the last that all widths have, and the logits."""
    layers = [place for place in table["place"].unique() if place.startswith("layer")]
    layers = [place for place in layers if table[table["place"] == place]["arch"].nunique() == table["arch"].nunique()]
    return ["embedding", *dict.fromkeys((layers[0], layers[-1])), "logits"]
