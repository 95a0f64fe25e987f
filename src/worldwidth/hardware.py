"""The device, the precision and the number of threads that the settings ask for."""

import torch

from worldwidth.errors import WorldwidthError
from worldwidth.matrix import Hardware


def prepare(settings: Hardware) -> torch.device:
    """Set the number of CPU threads and return the device; ``auto`` is the GPU where there is one.

    Raises:
        WorldwidthError: ``cuda`` is asked for and there is none.
    """
    torch.set_num_threads(settings.threads)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise WorldwidthError("hardware.device: found 'cuda', but torch sees no GPU here; allowed: cpu, auto")
    return torch.device("cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu")


def in_bfloat16(settings: Hardware, device: torch.device) -> bool:
    """Whether training's matrix products run in bfloat16."""
    return settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")
