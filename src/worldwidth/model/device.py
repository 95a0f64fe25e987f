"""The device, the precision and the number of threads that the settings ask for."""

import torch

from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.schema import Hardware


def prepare(hardware: Hardware) -> torch.device:
    """Set the number of CPU threads and return the device; ``auto`` is the GPU where there is one.

    Raises:
        WorldwidthError: ``cuda`` is asked for and there is none.
    """
    torch.set_num_threads(hardware.threads)
    if hardware.device == "cuda" and not torch.cuda.is_available():
        raise WorldwidthError("hardware.device: found 'cuda', but torch sees no GPU here; allowed: cpu, auto")
    return torch.device("cuda" if hardware.device != "cpu" and torch.cuda.is_available() else "cpu")


def in_bfloat16(hardware: Hardware, device: torch.device) -> bool:
    """Whether training's matrix products run in bfloat16."""
    return hardware.precision == "bfloat16" or (hardware.precision == "auto" and device.type == "cuda")
