"""The start of every stage script: `run_stage(main)`."""

from worldwidth.core.command import exit_codes

import os
import sys
from collections.abc import Callable

from worldwidth.core import signals
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.silence import reporting_silence
from worldwidth.dvcio.integrity import check_inputs
from worldwidth.dvcio.repo import open_repo
from worldwidth.dvcio.rwlock import forget_the_dead
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.load import load


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
        settings = load()
        check_rendered(settings)
        if "DVC_STAGE" in os.environ:  # run by hand, dvc.lock need not be up to date
            check_inputs(os.environ["DVC_STAGE"])
        try:
            name = os.environ.get("DVC_STAGE", sys.argv[0])
            with reporting_silence(name, settings.selected.execution.silence_minutes):
                main(settings, *arguments)
        except signals.Stopped:
            if signals.is_orphaned():  # else the list of the DVC that was killed blocks whoever gets its number
                with open_repo() as repo:
                    forget_the_dead(repo)
            raise
