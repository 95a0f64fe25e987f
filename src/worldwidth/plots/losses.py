"""A comparison's curves of pre-training: loss against FLOPs and tokens."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from worldwidth.comparison.axes import ARCH
from worldwidth.comparison.labels import LOSS, PRETRAINING_FLOPS, TOKENS
from worldwidth.comparison.tables import Comparison, records
from worldwidth.plots.style import DASHES, FAINT, PAGE, STYLE, Look, arch_looks, frame, new_figure, plain

_LATER = ("finetuning", "evaluation", "world.atlantis")
"""Settings that pre-training does not know: runs that differ in them alone share a base model."""


@plt.style.context(STYLE)
def draw_curves(comparison: Comparison) -> Figure:
    """Pre-training loss against FLOPs (left) and tokens (right): seeds thin, their mean thick; an arch a colour."""
    figure = new_figure(PAGE, 190)
    curves, looks = named_curves(comparison), arch_looks(comparison.settings)
    rests = list(dict.fromkeys(curves["rest"]))
    dashes = {rest: DASHES[i % len(DASHES)] for i, rest in enumerate(rests)}
    row = figure.subplots(1, 2, sharey=True)
    for axes, size, label in zip(row, ("flops", "tokens"), (PRETRAINING_FLOPS, TOKENS), strict=True):
        draw_losses(axes, curves, size, looks, dashes)
        axes.set_xlabel(label)
    row[0].set_ylabel(LOSS)
    handles = [Line2D([], [], color=looks[arch].color, lw=2) for arch in comparison.archs]
    handles += [Line2D([], [], color=FAINT, lw=1.2, linestyle=dashes[rest]) for rest in rests if rest]
    labels = [*comparison.archs, *(rest for rest in rests if rest)]
    figure.legend(handles, labels, loc="outside right center", handlelength=2.6)
    frame(figure, f"Pre-training loss  (scale {comparison.settings.scale})", [_caption(curves)])
    return figure


def named_curves(comparison: Comparison) -> pd.DataFrame:
    """The curves of all base models, each once, with ``rest``: what differs between them beside the arch, as text."""
    design = comparison.design
    without = [axis.key for axis in (*design.by, *design.within) if axis.key.startswith(_LATER)]
    rests = {
        (row["arm"], row["level"]): design.rest_of(row, without=(ARCH, *without))
        for row in records(comparison.runs.drop_duplicates(["arm", "level"]))
    }
    places = zip(comparison.curves["arm"], comparison.curves["level"], strict=True)
    named = comparison.curves.assign(rest=[rests[place] for place in places])
    return named.drop_duplicates(["arch", "rest", "seed", "step", "loss"], ignore_index=True)


def _caption(curves: pd.DataFrame) -> str:
    seeds = curves.groupby(["rest", "arch"])["seed"].nunique()
    which = "Validation loss" if curves["validation_loss"].notna().any() else "Training loss"
    lines = "one seed a line" if seeds.max() == 1 else f"thin: single seeds (up to {seeds.max()}); thick: their mean"
    return f"{which}; {lines}."


def draw_losses(axes: Axes, curves: pd.DataFrame, size: str, looks: dict[str, Look], dashes: dict[str, Any]) -> None:
    """Loss against ``size``: the validation loss of runs that have one, or else the training loss."""
    validated = curves.groupby(["rest", "arch", "seed"])["validation_loss"].transform("count") > 0
    shown = curves.assign(shown=curves["validation_loss"].where(validated, curves["loss"])).dropna(subset=["shown"])
    for rest, arch in dict.fromkeys(zip(shown["rest"], shown["arch"], strict=True)):
        own = shown[(shown["rest"] == rest) & (shown["arch"] == arch)]
        style = {"color": looks[arch].color, "linestyle": dashes[rest]}
        for _, of_seed in own.groupby("seed"):
            axes.plot(of_seed[size], of_seed["shown"], lw=0.5, alpha=0.6, **style)
        mean = own.groupby("step")[[size, "shown"]].mean()
        axes.plot(mean[size], mean["shown"], lw=1.4, **style)
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    plain(axes)
