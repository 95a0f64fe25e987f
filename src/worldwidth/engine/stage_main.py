"""The start of every stage script: `run_stage(main)`."""

from worldwidth.core.command import exit_codes

import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from worldwidth.core import signals
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import checking
from worldwidth.core.progress import watching
from worldwidth.core.silence import reporting_silence
from worldwidth.dvcio.integrity import check_inputs
from worldwidth.dvcio.repo import open_repo
from worldwidth.dvcio.rwlock import forget_the_dead
from worldwidth.dvcio.stored import check_inputs_stored
from worldwidth.dvcio.tracked import Tracked, stage_of
from worldwidth.engine.board import board
from worldwidth.engine.view import showing_stage
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings


def run_stage(main: Callable[..., None], *names: str) -> None:
    """Call ``main(settings, *arguments)`` with one command-line argument for each of ``names``.

    Exits with 2 and one line on stderr when the input is bad, with 130 on Ctrl-C, and with 75 when it was asked to
    stop and should be run again.
    """
    with exit_codes():
        arguments = sys.argv[1:]
        if len(arguments) != len(names):
            raise WorldwidthError(f"usage: python {sys.argv[0]} {' '.join(names)}")
        signals.raise_again()
        settings = _settings()
        check_rendered(settings)
        if "DVC_STAGE" in os.environ:  # run by hand, dvc.lock need not be up to date
            check_inputs(os.environ["DVC_STAGE"])
            check_inputs_stored(os.environ["DVC_STAGE"])
        name, execution = os.environ.get("DVC_STAGE", sys.argv[0]), settings.selected.execution
        watched = reporting_silence(name, execution.silence_minutes, execution.hang_minutes)
        try:
            shown = showing_stage("dvc", os.getpid(), name) if "DVC_STAGE" in os.environ else nullcontext()
            with (
                checking(_TRACKED.refuse_edited),
                watched,
                shown,
                board(execution.tensorboard) as write,
                watching(lambda standing: write(name, time.time(), standing)),
            ):
                main(settings, *arguments)
        except signals.Stopped:
            if signals.is_orphaned():  # else the list of the DVC that was killed blocks whoever gets its number
                with open_repo() as repo:
                    forget_the_dead(repo)
            raise


def _settings() -> Settings:
    """params.yaml. What `dvc exp run -S` has set stays in it when the run fails: then the error says so."""
    try:
        return load()
    except WorldwidthError as error:
        if "DVC_EXP_NAME" not in os.environ:
            raise
        undo = "`dvc exp run -S` left that in params.yaml; `git checkout params.yaml` takes it back"
        raise WorldwidthError(f"{error} ({undo}, with whatever else is changed there)") from None


def _tracked() -> Tracked:
    """What the stage of this process depends on; of nothing where a job loads the script."""
    script = Path(sys.argv[0])
    stage = stage_of([script.as_posix(), *sys.argv[1:]]) if script.parent.name == "stages" else None
    return Tracked([stage] if stage else [])


_TRACKED = _tracked()  # while this is imported, before the script imports what the stage computes with
