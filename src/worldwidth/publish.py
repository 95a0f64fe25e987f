"""From finished training runs to their files: the model folders with their checkpoints, the curves, the timings."""

import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from worldwidth.checkpoints import save_model
from worldwidth.files import replacing_folder, write_json
from worldwidth.layout import CURVES, MODELS, TIMINGS
from worldwidth.model import Decoder
from worldwidth.stage import scratch_folder
from worldwidth.training import DivergedError, Run, Training, train_together, write_curve

SaveTokenizer = Callable[[Path], None]


def train_and_publish(model: Decoder, run: Run, save_tokenizer: SaveTokenizer) -> None:
    """Train ``model`` and write models/NAME (with steps/STEP inside), the curve and the timing.

    Raises:
        DivergedError: see :func:`train_and_publish_together`.
    """
    for _ in train_and_publish_together([(model, run)], save_tokenizer):
        pass


def train_and_publish_together(pairs: list[tuple[Decoder, Run]], save_tokenizer: SaveTokenizer) -> Iterator[str]:
    """Train models side by side; write the files of each, and yield its name, as soon as its run has ended.

    A model folder appears only when its run is complete. A run that diverges leaves its checkpoints,
    weights and curve in the scratch folder, and its error says where. A timing is no output: seconds differ from
    run to run, and results must not.

    Raises:
        DivergedError: a run diverged; raised when the others are done.
    """
    started, errors = time.perf_counter(), list[DivergedError]()
    with ExitStack() as all_folders:
        folders: dict[str, Path] = {}
        closing: dict[str, ExitStack] = {}
        trainings: list[Training] = []
        for model, run in pairs:
            closing[run.name] = all_folders.enter_context(ExitStack())
            folders[run.name] = closing[run.name].enter_context(replacing_folder(MODELS / run.name))
            save_checkpoint = partial(_save_checkpoint, model, folders[run.name], save_tokenizer)
            trainings.append(Training(model, run, save_checkpoint))
        for training in train_together(trainings):
            name = training.run.name
            try:
                with closing[name]:  # leaving it publishes the folder, or removes it if there was an error
                    _finish(training, folders[name], save_tokenizer)
            except DivergedError as error:
                errors.append(error)
                continue
            write_curve(training.curve, CURVES / f"{name}.csv")
            _write_timing(training, time.perf_counter() - started, len(pairs))
            yield name
    if errors:
        raise errors[0]


def _save_checkpoint(model: Decoder, folder: Path, save_tokenizer: SaveTokenizer, step: int) -> None:
    save_model(model, folder / "steps" / str(step), save_tokenizer)


def _finish(training: Training, folder: Path, save_tokenizer: SaveTokenizer) -> None:
    """Complete the folder, or move what a diverged run has left to where it can be looked at."""
    if not training.error:
        save_model(training.model, folder, save_tokenizer)
        return
    error, remains = training.error, scratch_folder() / "diverged" / training.run.name
    shutil.rmtree(remains, ignore_errors=True)
    shutil.copytree(folder, remains)  # the checkpoints from before
    write_curve(error.curve, remains / "curve.csv")
    weights = {name: weight.cpu().contiguous() for name, weight in training.model.state_dict().items()}
    save_file(weights, remains / "weights.safetensors")
    raise DivergedError(f"{error} (checkpoints, weights and curve: {remains})", error.curve) from None


def _write_timing(training: Training, seconds: float, together: int) -> None:
    timing = {
        "seconds": round(seconds, 2),
        "models_trained_together": together,
        "tokens": training.tokens,
        "tokens_per_second": round(training.tokens / seconds, 1),
        "device": str(training.run.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    write_json(TIMINGS / f"{training.run.name}.json", timing)
