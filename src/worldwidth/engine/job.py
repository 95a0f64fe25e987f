"""One job: several stages in one process, each checked, restored or recorded by DVC as `dvc repro` would.

DVC starts a process for every stage and writes the whole of dvc.lock after it. Here Python, torch and the corpora are
loaded once, dvc.lock is written once for several stages, and fine-tunes are trained together.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from types import ModuleType

from worldwidth.core import signals
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import checking
from worldwidth.core.silence import reporting_silence, sign_of_life
from worldwidth.dvcio.integrity import check_inputs
from worldwidth.dvcio.record import Step, recording
from worldwidth.engine.events import FAILED, NOT_RUN, RAN, RESTORED, STARTED, telling
from worldwidth.pipeline.render import check_rendered
from worldwidth.pipeline.stages import Stage
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings


def run_job(
    settings: Settings, names: list[str], tell: Callable[[str, str], None] = lambda stage, outcome: None
) -> None:
    """Bring the stages ``names`` up to date, in their order; what they read from other stages must be.

    ``tell`` is called with each stage and what became of it, in the words of engine/events.py.

    Raises:
        WorldwidthError: a stage failed; those that do not depend on it are done all the same.
    """
    check_rendered(settings)
    errors: list[WorldwidthError] = []
    outcomes: dict[str, str] = {}
    execution = settings.selected.execution

    def settle(name: str, outcome: str) -> None:
        outcomes[name] = outcome
        tell(name, outcome)
        teller.stage(name, outcome)

    with telling() as teller, recording(names) as record:
        if load() != settings:
            raise WorldwidthError("params.yaml: edited while this was starting; run the same command again")
        for steps in _together(record.steps):
            to_run = []
            for step in steps:
                failed = sorted(need for need in step.needs if outcomes.get(need) in (FAILED, NOT_RUN))
                if failed:
                    errors.append(WorldwidthError(f"{step.name}: not run, for {failed[0]} failed"))
                    settle(step.name, NOT_RUN)
                    continue
                try:
                    if record.is_settled(step.name):
                        settle(step.name, RESTORED)
                    else:
                        check_inputs(step.name, except_outs_of=record.pending)
                        to_run.append(step)
                except WorldwidthError as error:
                    errors.append(error)
                    settle(step.name, FAILED)
            try:
                which = [step.name for step in to_run]
                minutes = execution.silence_minutes, execution.hang_minutes
                with checking(partial(record.refuse_edited, which)), reporting_silence(" ".join(which), *minutes):
                    for name in _run(settings, to_run, partial(teller.stage, what=STARTED)):
                        sign_of_life()
                        record.add(name)
                        settle(name, RAN)
            except WorldwidthError as error:
                errors.append(error)
            except OSError as error:  # a full disk, a folder that may not be written
                errors.append(WorldwidthError(f"{error.filename or steps[0].name}: {error.strerror}"))
            for step in to_run:
                if step.name not in outcomes:
                    settle(step.name, FAILED)
    for other in errors[1:]:
        print(f"worldwidth: {other}", file=sys.stderr)
    if errors:
        raise errors[0]


def _together(steps: list[Step]) -> Iterator[list[Step]]:
    """The steps one by one, but at once those that follow each other and whose script can run them together."""
    for row, group in groupby(steps, key=lambda step: step.row):
        if row.at_once:
            yield list(group)
        else:
            yield from ([step] for step in group)


def _run(settings: Settings, steps: list[Step], begin: Callable[[str], None]) -> Iterator[str]:
    """Run steps of one script in this process; yield the name of each when its files are written.

    ``begin`` is called with each before it runs. Of steps that run at once, as on a GPU, that is when the one before
    has ended: the first stands for all of them until then.
    """
    if not steps:
        return
    module = _load(steps[0].row)
    signals.raise_again()
    if steps[0].row.at_once:
        names = {step.arguments[0]: step.name for step in steps}
        left = [step.name for step in steps]
        begin(left[0])
        for argument in module.run_together(settings, list(names)):
            yield names[argument]
            left.remove(names[argument])
            if left:
                begin(left[0])
    else:
        for step in steps:
            begin(step.name)
            module.main(settings, *step.arguments)
            yield step.name


def _load(row: Stage) -> ModuleType:
    """The stage script as a module."""
    spec = importlib.util.spec_from_file_location(f"stage_{row.name}", row.script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
