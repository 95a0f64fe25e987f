"""From finished training runs to their files: the model folders with their checkpoints, the curves, the timings."""

import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from worldwidth.core.files import replacing_folder, write_json
from worldwidth.model.checkpoint import save_model
from worldwidth.model.layout import DecoderConfig, Weights, views
from worldwidth.model.safe_tensors import save_tensors
from worldwidth.settings.paths import CURVES, MODELS, TIMINGS, scratch_folder
from worldwidth.training.invariants import check_frozen
from worldwidth.training.loop import train_together
from worldwidth.training.resume import SavedRun, Saving
from worldwidth.training.run import DivergedError, Run, Training, write_curve

SaveTokenizer = Callable[[Path], None]


def train_and_publish(
    config: DecoderConfig, weights: Weights, runs: list[Run], save_tokenizer: SaveTokenizer, resume_seconds: float
) -> Iterator[str]:
    """Train one model a run, side by side, all from ``weights`` (n,); write models/NAME (with
    steps/STEP inside), the curve and the timing of each, and yield its name, as soon as its run has ended.

    A run that was stopped before goes on from its saved state, and saves it every ``resume_seconds``. A model folder
    appears only when its run is complete. A run that diverges leaves its checkpoints, weights and curve in the
    scratch folder, and its error says where. A timing is no output: seconds differ from run to run, and results
    must not.

    Raises:
        DivergedError: a run diverged; raised when the others are done.
        WorldwidthError: a run did not do what its recipe says.
        Stopped: the process was asked to stop; the states are saved.
    """
    errors = list[DivergedError]()
    with ExitStack() as held:
        saved_runs = {run.name: held.enter_context(SavedRun(config, weights, run)) for run in runs}
        saving = Saving(saved_runs, resume_seconds)
        trainings = [_training(config, weights.copy(), run, saved_runs[run.name], save_tokenizer) for run in runs]
        for training in train_together(trainings, saving):
            name, saved = training.run.name, saved_runs[training.run.name]
            if training.error:
                errors.append(_keep_remains(training, training.error, saved))
            else:
                check_frozen(training, weights)
                _publish(training, saved, save_tokenizer)
                _write_timing(training, saved.seconds + saving.elapsed, len(runs))
            saved.remove()
            if not training.error:
                yield name
    if errors:
        raise errors[0]


def _training(
    config: DecoderConfig, weights: Weights, run: Run, saved: SavedRun, save_tokenizer: SaveTokenizer
) -> Training:
    def save_checkpoint(step: int) -> None:
        saved.add_checkpoint(step, lambda folder: save_model(config, weights, folder, save_tokenizer))

    return Training(config, weights, run, save_checkpoint, saved.load())


def _publish(training: Training, saved: SavedRun, save_tokenizer: SaveTokenizer) -> None:
    """Write the run's outs; the model folder appears once it is whole."""
    name = training.run.name
    with replacing_folder(MODELS / name) as folder:
        saved.publish_checkpoints(folder / "steps")
        save_model(training.config, training.weights, folder, save_tokenizer)
    write_curve(training.curve, CURVES / f"{name}.csv")


def _keep_remains(training: Training, error: DivergedError, saved: SavedRun) -> DivergedError:
    """Move what a diverged run has left to where it can be looked at; return the error that says where."""
    remains = scratch_folder() / "diverged" / training.run.name
    shutil.rmtree(remains, ignore_errors=True)
    remains.mkdir(parents=True)
    saved.publish_checkpoints(remains / "steps")
    write_curve(error.curve, remains / "curve.csv")
    save_tensors(views(training.weights, training.config), remains / "weights.safetensors", {})
    return DivergedError(f"{error} (checkpoints, weights and curve: {remains})", error.curve)


def _write_timing(training: Training, seconds: float, together: int) -> None:
    compute = training.run.compute
    timing = {
        "seconds": round(seconds, 2),
        "models_trained_together": together,
        "tokens": training.tokens,
        "tokens_per_second": round(training.tokens / seconds, 1),
        "device": compute.device,
        "engine": compute.engine,
        "threads": compute.threads,
        "torch": version("torch"),
        "machine": platform.machine(),
    }
    write_json(TIMINGS / f"{training.run.name}.json", timing)
