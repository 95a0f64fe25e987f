"""From a finished training run to its files: the model folder with its checkpoints, the curve, the timing."""

import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from worldwidth.checkpoints import save_model
from worldwidth.files import replacing_folder, write_json
from worldwidth.layout import CURVES, MODELS, TIMINGS
from worldwidth.model import Decoder
from worldwidth.stage import scratch_folder
from worldwidth.training import DivergedError, Run, train, write_curve


def train_and_publish(model: Decoder, run: Run, save_tokenizer: Callable[[Path], None]) -> None:
    """Train ``model`` and write models/NAME (with steps/STEP inside), the curve and the timing.

    The model folder appears only when the run is complete. A run that diverges leaves its checkpoints,
    weights and curve in the scratch folder, and its error says where. The timing is no output: seconds differ from
    run to run, and results must not.
    """
    started = time.perf_counter()
    with replacing_folder(MODELS / run.name) as folder:

        def save_checkpoint(step: int) -> None:
            save_model(model, folder / "steps" / str(step), save_tokenizer)

        try:
            curve = train(model, run, save_checkpoint)
        except DivergedError as error:
            remains = scratch_folder() / "diverged" / run.name
            shutil.rmtree(remains, ignore_errors=True)
            shutil.copytree(folder, remains)  # the checkpoints from before
            write_curve(error.curve, remains / "curve.csv")
            save_file(model.state_dict(), remains / "weights.safetensors")
            raise DivergedError(f"{error} (checkpoints, weights and curve: {remains})", error.curve) from None
        save_model(model, folder, save_tokenizer)
    write_curve(curve, CURVES / f"{run.name}.csv")
    seconds = time.perf_counter() - started
    timing = {
        "seconds": round(seconds, 2),
        "tokens": curve[-1].tokens,
        "tokens_per_second": round(curve[-1].tokens / seconds, 1),
        "device": str(run.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    write_json(TIMINGS / f"{run.name}.json", timing)
