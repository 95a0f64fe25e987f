"""`worldwidth coordinates`: does a learning rate mean the same at every width, under standard and under mup?"""

import math
from dataclasses import asdict

import numpy as np
import pandas as pd

from worldwidth.core.files import write_text
from worldwidth.data.make_cities import make_real_cities
from worldwidth.native.compute import compute_of
from worldwidth.plots.coordinates import draw_coordinates
from worldwidth.plots.style import save_figure
from worldwidth.settings.paths import COORDINATES
from worldwidth.settings.schema import Settings
from worldwidth.training.coordinates import SEEDS, STEPS, coordinates, draw_mixtures, growth, widths_of

_DIGITS = "%.5g"


def print_coordinates(settings: Settings, archs: list[str] | None) -> None:
    """Train a few steps at several widths; print the table and write it and the figure.

    Args:
        archs: None for all with as many layers as the reference.

    Raises:
        WorldwidthError: an arch is unknown, or the list of cities is broken.
    """
    scale, names = settings.selected, widths_of(settings, archs)
    mixture, seen = draw_mixtures(settings, make_real_cities(scale.world))
    compute = compute_of(scale.hardware, scale.hardware.pretraining_threads)
    rows = [row for run in coordinates(settings, names, mixture, seen, compute) for row in run]
    table = pd.DataFrame([asdict(row) for row in rows])
    path = COORDINATES / f"{settings.scale}.csv"
    write_text(path, table.to_csv(index=False, lineterminator="\n", float_format=_DIGITS))
    print(f"mean absolute change after {STEPS} steps, {SEEDS} seeds; {scale.pretraining.optimizer}", end="")
    print(f", rate {scale.pretraining.learning_rate:g}; growth: exponent of the width")
    for line in table_lines(table):
        print(line)
    print("\nwritten:", path, save_figure(settings.scale, lambda: draw_coordinates(settings, table), COORDINATES))


def table_lines(table: pd.DataFrame) -> list[str]:
    """The change after the last step, places down, widths across, and how it grows with the width."""
    last = table[table["step"] == table["step"].max()]
    means = last.groupby(["parametrization", "place", "arch"])["change"].mean()
    sizes = last.drop_duplicates("arch").set_index("arch")["hidden_size"]
    lines: list[str] = []
    for parametrization in last["parametrization"].unique():
        heading = "".join(f" {arch:>9}" for arch in sizes.index)
        lines += ["", f"{parametrization:<12}{heading} {'growth':>9}"]
        for place in last["place"].unique():
            own = means.loc[parametrization, place].reindex(sizes.index)
            there = own[np.isfinite(own) & (own > 0)]  # another depth lacks some layers; a run may diverge
            slope = growth([int(sizes[arch]) for arch in there.index], list(there)) if len(there) > 1 else math.nan
            cells = "".join(f" {_cell(value, '.3g'):>9}" for value in own)
            lines.append(f"{place:<12}{cells} {_cell(slope, '.2f'):>9}")
    return lines


def _cell(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "-"
