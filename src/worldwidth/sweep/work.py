"""`worldwidth work STAGE ...`: what a job of `worldwidth sweep` does, in a work tree that is set to its variant."""

from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.restore import restore_inputs
from worldwidth.engine.job import run_job
from worldwidth.settings.schema import Settings
from worldwidth.sweep.saving import save_experiment


def work(settings: Settings, names: list[str], save: list[str] | None) -> None:
    """Take what the stages ``names`` read from DVC's cache and run them; ``save`` is an experiment and its repository.

    Raises:
        WorldwidthError: an input is not in the cache, a stage failed, or the variant that is to be saved is not whole.
    """
    if names:
        restore_inputs(names)
        run_job(settings, names)
    if save:
        lacking = save_experiment(save[0], Path(save[1]))
        if lacking:
            raise WorldwidthError(f"{lacking[0]}: not in DVC's run cache; run the same command again")
