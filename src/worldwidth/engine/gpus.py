"""Which GPUs there are, and one for each job: found and claimed without importing torch."""

import fcntl
import os
import re
from pathlib import Path
from typing import IO

from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.paths import scratch_folder
from worldwidth.settings.schema import Hardware

_DEVICES = Path("/dev")


def visible_gpus(hardware: Hardware) -> list[str]:
    """Ids of the GPUs that jobs may use: those of CUDA_VISIBLE_DEVICES, or all; none if the device is ``cpu``."""
    if hardware.device == "cpu":
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu.strip() for gpu in chosen.split(",") if gpu.strip() not in ("", "-1")]
    found = [match[1] for path in _DEVICES.glob("nvidia*") if (match := re.fullmatch(r"nvidia(\d+)", path.name))]
    return sorted(found, key=int)


def claim_gpu(gpus: list[str]) -> IO[str]:
    """Take the first GPU that no other job holds, for as long as the returned file stays open.

    Raises:
        WorldwidthError: all are taken.
    """
    folder = scratch_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for gpu in gpus:
        file = (folder / f"gpu-{re.sub(r'[^0-9A-Za-z-]', '_', gpu)}.lock").open("w", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        return file
    raise WorldwidthError(f"all GPUs are taken by other jobs: {', '.join(gpus)}; run fewer jobs")
