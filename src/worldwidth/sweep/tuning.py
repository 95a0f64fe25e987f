"""The rule by which a fine-tuning learning rate is chosen.

The rule, stated before anything is run. A setup, as an arch, is fine-tuned at every rate of a grid (trials.py says on
what). The score of a rate is its trained skill: the mean, over the fine-tunes and the tasks that each was trained on,
of the skill on Atlantis. Of the rates within two standard errors of the highest score, those of the highest itself, the
lowest is chosen: the score hardly tells them apart, and a lower rate spares what is known of ordinary cities. Where
the best rate is at an edge of the grid, the grid is extended beyond it by one step of the same ratio, and the setup is
asked again: at most three times, after which the rate at the edge is taken, and said to be there. A rate at which a
training diverges is worse than any other.
"""

from collections.abc import Callable, Sequence

from worldwidth.settings.axes import shortest
from worldwidth.sweep.trials import Setup, Trial

EXTENSIONS = 3
"""Times that the grid of a setup may be extended."""
NEAR = 2.0
"""Standard errors below the highest score within which a rate is as good."""


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The one that the rule chooses among those of a setup."""
    highest = max(trials, key=lambda trial: trial.skill)
    least = highest.skill - NEAR * highest.standard_error if highest.standard_error > 0 else highest.skill
    return min((trial for trial in trials if trial.skill >= least), key=lambda trial: trial.learning_rate)


def did_diverge(reason: str) -> bool:
    """Whether a run failed for its rate, by what is said of it."""
    return "try a lower learning_rate" in reason


def rate_beyond(trials: Sequence[Trial]) -> float | None:
    """The rate to try next where the best one of a setup is at an edge of those tried; None where it is inside."""
    rates, best = sorted(trial.learning_rate for trial in trials), best_trial(trials).learning_rate
    neighbours = {rates[0]: rates[1], rates[-1]: rates[-2]}
    return _rounded(best * best / neighbours[best]) if best in neighbours else None


def search(
    grid: Sequence[float], setups: Sequence[Setup], attempt: Callable[[dict[Setup, list[float]]], list[Trial]]
) -> dict[Setup, list[Trial]]:
    """The trials of every setup, by rising rate, once the best is inside or the grid is as long as it may get.

    Args:
        attempt: runs setups at their rates.
    """
    trials: dict[Setup, list[Trial]] = {setup: [] for setup in setups}
    waiting = {setup: list(grid) for setup in setups}
    for extension in range(1 + EXTENSIONS):
        for setup, rate in ((setup, rate) for setup, rates in waiting.items() for rate in rates if extension):
            edge = shortest(best_trial(trials[setup]).learning_rate)
            print(f"{setup.label}: {edge}, the best so far, is at the edge of what was tried: {shortest(rate)} too")
        for trial in attempt(waiting):
            trials[trial.setup].append(trial)
        further = {setup: rate_beyond(trials[setup]) for setup in waiting}
        waiting = {setup: [rate] for setup, rate in further.items() if rate is not None}
        if not waiting:
            break
    return {setup: sorted(found, key=lambda trial: trial.learning_rate) for setup, found in trials.items()}


def _rounded(rate: float) -> float:
    """Three digits, as somebody would write a rate."""
    return float(f"{rate:.3g}")
