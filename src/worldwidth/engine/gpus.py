"""Which GPUs jobs may use, found without importing torch."""

import os
import re
from pathlib import Path

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
