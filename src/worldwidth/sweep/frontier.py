"""The rule by which the ratio of the body's rate to the embedding's is chosen, once for all archs.

With the trained score alone one rate for all weights would win: the whole network is bent until it answers the trained
task, and nothing reaches the others. So three things are looked at together, at every ratio and at the far end, where
only the embeddings of new cities move: the trained score, transfer above the control, and what is retained of ordinary
cities in other tasks.

The rule. Every arch of ``tuning.frontier`` gets, at every ratio, the rate that tuning.py chooses on the first
replicate; the further replicates run at that rate. A ratio is sound if, in the mean over replicates of the reference
arch, its trained score is at least 0.8 and its retention no lower than with one rate for all weights (ratio 1) that is
chosen in the same way. Of the sound ratios above 0 the one with the highest transfer above the control counts, in the
mean over archs and replicates. Of those that fall short of it by at most two standard errors, the highest ratio is
chosen, which is nearest to what was published. (The error is that of the mean difference, from its scatter over the
replicates of an arch.) New rows alone are shown and not chosen: they answer another question, what a vector can carry.

As first stated, before any run, retention was held against the published recipe at its own rate, less 0.05: no ratio
met that at the rate that suits its trained score, one rate for all weights least of all. And ratios within 0.02 of the
highest transfer counted as equal, which is less than two replicates can tell. docs/recipe.md has the figures.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.compute import new_rows
from worldwidth.settings.questions import Tuning
from worldwidth.settings.schema import DEFAULT, Settings
from worldwidth.sweep.trials import Setup, Trial
from worldwidth.sweep.tuning import NEAR

LEAST_TRAINED = 0.8
ONE_RATE = 1.0
"""The ratio whose retention is the measure."""
PUBLISHED = "published"
"""The recipe that is shown beside."""


def frontier_setups(settings: Settings, tuning: Tuning) -> list[Setup]:
    """Every arch at every ratio, and with new rows alone where there are some."""
    assert tuning.frontier
    found: list[Setup] = []
    for arch in tuning.frontier.archs:
        one = Setup.of(settings, arch, recipe=DEFAULT, trainable="all")
        found += [replace(one, body_ratio=ratio) for ratio in tuning.frontier.body_ratios]
        found += [replace(one, trainable="new_embeddings")] * bool(new_rows(settings.selected))
    return found


def choose_ratio(trials: Sequence[Trial], reference: str) -> float:
    """The ratio that the rule chooses.

    Args:
        trials: the chosen rate of every arch, ratio and replicate.

    Raises:
        WorldwidthError: none is sound.
    """
    table = pd.DataFrame([trial.row() for trial in trials])
    own = table[(table["recipe"] != PUBLISHED) & (table["trainable"] == "all") & (table["body_ratio"] > 0)]
    of_reference = own[own["arch"] == reference].groupby("body_ratio")[["trained", "retention"]].mean()
    least = float(of_reference["retention"].get(ONE_RATE, np.nan))
    sound = of_reference[(of_reference["trained"] >= LEAST_TRAINED) & (of_reference["retention"] >= least)]
    if sound.empty:
        raise WorldwidthError(
            f"no ratio is sound: the trained score of {reference} is at most {of_reference['trained'].max():.2f} (at "
            f"least {LEAST_TRAINED} is asked for), its retention {least:.2f} at ratio 1 and at most "
            f"{of_reference['retention'].max():.2f}"
        )
    above = own.pivot_table(index=["arch", "replicate"], columns="body_ratio", values="above").reindex(
        columns=sound.index
    )
    if not np.isfinite(above.mean()).any():
        raise WorldwidthError("transfer above the control cannot be measured: let tuning.only name the control, too")
    short = above.sub(above[above.mean().idxmax()], axis="index")
    scatter, freedom = short - short.groupby(level="arch").transform("mean"), len(short) - own["arch"].nunique()
    error = np.sqrt((scatter**2).sum() / max(1, freedom) / len(short))
    near = short.mean() + NEAR * error >= 0
    return float(max(ratio for ratio in sound.index if near[ratio]))
