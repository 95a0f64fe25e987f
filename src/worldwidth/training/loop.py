"""The training loop: one for pre-training and fine-tuning, one run or several, on a CPU or a GPU."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

from worldwidth.core.progress import Progress
from worldwidth.core.silence import sign_of_life
from worldwidth.training.engines import Engine, engine_of
from worldwidth.training.invariants import CheckedEngine
from worldwidth.training.resume import Saving
from worldwidth.training.run import CurvePoint, DivergedError, Training


def train(training: Training) -> list[CurvePoint]:
    """Take all steps of one run; return its curve.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    for _ in train_together([training]):
        if training.error:
            raise training.error
    return training.curve


def train_together(trainings: list[Training], saving: Saving | None = None) -> Iterator[Training]:
    """Take the runs' steps side by side; yield each run when it has ended, finished or with its ``error``.

    Several runs are computed as one stacked model: same shapes, device and batch size. One that is done
    or diverges leaves the stack, and the others go on. With ``saving`` their states are saved now and then.

    Raises:
        Stopped: the process was asked to stop; with ``saving`` only, which has saved the states.
        WorldwidthError: a step, or a state that a run goes on from, is not what it must be.
    """
    name = trainings[0].run.name + (f" and {len(trainings) - 1} more" if len(trainings) > 1 else "")
    steps = max(training.run.steps for training in trainings)
    with Progress(name, steps, trainings[0].step, sum(training.tokens for training in trainings)) as progress:
        under_way = trainings
        while under_way:
            with saving or nullcontext():
                _train_until_one_ends(under_way, trainings, saving, progress)
            yield from (training for training in under_way if training.ended)
            under_way = [training for training in under_way if not training.ended]


def _train_until_one_ends(
    under_way: list[Training], all_runs: list[Training], saving: Saving | None, progress: Progress
) -> None:
    if any(training.ended for training in under_way):  # it was saved after its last step
        return
    engine = CheckedEngine(engine_of(under_way), under_way)
    if saving:
        saving.check_restored(under_way, engine)
    while not any(training.ended for training in under_way):
        for training, tokens in zip(under_way, engine.step(), strict=True):
            training.step += 1
            training.tokens += tokens
        sign_of_life()
        if any(training.row_is_due for training in under_way):
            _write_rows(engine, under_way)
            first = under_way[0]
            if first.curve and first.curve[-1].step == first.step:
                progress.update(first.step, sum(training.tokens for training in all_runs), first.curve[-1].loss)
        if saving:
            saving.after_step(under_way, engine)
    engine.fetch_weights()
    engine.fetch_losses()


def _write_rows(engine: Engine, under_way: list[Training]) -> None:
    engine.fetch_losses()
    if any(training.at_milestone for training in under_way):
        engine.fetch_weights()
    for training in under_way:
        if training.row_is_due:
            try:
                training.write_row(partial(engine.validation_loss, training))
            except DivergedError as error:
                training.error = error
