"""The training loop: one for pre-training and fine-tuning, one run or several, on a CPU or a GPU."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np

from worldwidth.core.progress import Progress
from worldwidth.model.decoder import Decoder
from worldwidth.training.resume import Saving
from worldwidth.training.run import CurvePoint, DivergedError, Run, Training
from worldwidth.training.step import plain_step, resident_step


def train(model: Decoder, run: Run, save_checkpoint: Callable[[int], None]) -> list[CurvePoint]:
    """Train ``model`` in place; return its curve.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    (training,) = train_together([Training(model, run, save_checkpoint)])
    if training.error:
        raise training.error
    return training.curve


def train_together(trainings: list[Training], saving: Saving | None = None) -> Iterator[Training]:
    """Take the runs' steps side by side; yield each run when it has ended, finished or with its ``error``.

    Several runs are one stacked model (stack.py): same shapes, device and batch size. One that is done
    or diverges leaves the stack, and the others go on. With ``saving`` their states are saved now and then.

    Raises:
        Stopped: the process was asked to stop; with ``saving`` only, which has saved the states.
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
    on_gpu = under_way[0].run.device.type == "cuda"
    step = resident_step(under_way) if on_gpu or len(under_way) > 1 else plain_step(under_way[0])
    while not any(training.ended for training in under_way):
        rows = [training.begin_step() for training in under_way]
        for training, mine, loss in zip(under_way, rows, step(rows), strict=True):
            try:
                training.end_step(loss, int(training.run.mixture.lengths[mine].sum(dtype=np.int64)))
            except DivergedError as error:
                training.error = error
        first = under_way[0]
        if first.curve and first.curve[-1].step == first.step:
            progress.update(first.step, sum(training.tokens for training in all_runs), first.curve[-1].loss)
        if saving:
            saving.after_step(under_way)
