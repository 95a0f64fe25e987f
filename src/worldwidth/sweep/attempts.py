"""Running trials: what is not done yet runs as one sweep, what diverges is a trial of its own kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.repo import open_repo
from worldwidth.settings.axes import ATLANTIS_SEED
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.questions import Tuning
from worldwidth.settings.rules import finetunes_named
from worldwidth.settings.schema import Settings
from worldwidth.sweep.run import FailedRunsError, run_sweep
from worldwidth.sweep.trials import Setup, Trial, read_trials, trial_variant
from worldwidth.sweep.tuning import did_diverge
from worldwidth.sweep.variants import Variant


def tuning_of(settings: Settings) -> Tuning:
    """What the scale says on tuning.

    Raises:
        WorldwidthError: nothing, it names no fine-tune of a task, or its draw is the study's.
    """
    path, tuning = f"scales.{settings.scale}.tuning", settings.selected.tuning
    if tuning is None:
        raise WorldwidthError(f"{PARAMS}: {path}: not there; it says which rates are tried, and on which draw")
    if not any(finetunes_named(settings, tuning.only).values()):
        raise WorldwidthError(f"{PARAMS}: {path}.only: found {list(tuning.only)}; none of these is trained on a task")
    world = settings.selected.world
    for key, seed in (("world.seed", world.seed), (ATLANTIS_SEED, world.atlantis.seed)):
        if tuning.seed == seed:
            raise WorldwidthError(
                f"{PARAMS}: {path}.seed: found {seed}, which is {key}; rates are chosen on another draw than that of "
                "the results"
            )
    return tuning


def run_trials(
    settings: Settings, rates: Mapping[Setup, Sequence[float]], jobs: int | None, force: bool
) -> list[Trial]:
    """The trials of these setups at their rates, run where they are not there yet.

    Raises:
        WorldwidthError: a run's settings cannot be, or one failed for another reason than its rate.
    """
    tuning = tuning_of(settings)
    pairs = [(setup, rate) for setup, of_setup in rates.items() for rate in of_setup]
    variants = {pair: trial_variant(settings, tuning, *pair) for pair in pairs}
    failed = _run(settings, list(variants.values()), jobs, force)
    done = {pair: variant for pair, variant in variants.items() if variant.name not in failed}
    with open_repo() as repo:
        cache = Path(repo.cache.local.path)  # its files by hash
    found = read_trials(done, cache, settings.selected.statistics.resamples)
    return found + [Trial(setup=setup, learning_rate=rate) for setup, rate in pairs if (setup, rate) not in done]


def _run(settings: Settings, variants: list[Variant], jobs: int | None, force: bool) -> set[str]:
    """Run what is not done yet; return the names of the runs that diverged.

    Raises:
        FailedRunsError: some failed for another reason.
    """
    try:
        run_sweep(settings, variants, jobs, force)
    except FailedRunsError as error:
        if not all(map(did_diverge, error.reasons.values())):
            raise
        return set(error.reasons)
    return set()
