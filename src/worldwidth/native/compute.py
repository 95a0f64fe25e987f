"""What a model is computed with: the device, the engine, the precision and the threads that the settings ask for."""

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from worldwidth.core.errors import WorldwidthError
from worldwidth.native.step import unavailable
from worldwidth.settings.schema import Hardware

_GPU_FILES = ("nvidia0", "nvidiactl", "dxg", "kfd")  # of Linux, of WSL and of AMD's driver


@dataclass(frozen=True)
class Compute:
    """What a model is computed with."""

    device: Literal["cpu", "cuda"]
    engine: Literal["native", "torch"]
    threads: int
    """CPU threads; they change no bit of training."""
    bfloat16: bool = False
    """Whether training's matrix products run in bfloat16 (autocast); weights and optimiser are float32."""


ONE_THREAD = Compute("cpu", "torch", 1)


def compute_of(hardware: Hardware, threads: int) -> Compute:
    """What ``hardware`` stands for on this machine; torch is imported only where there may be a GPU.

    Raises:
        WorldwidthError: the device or the engine that is asked for cannot be had.
    """
    if hardware.device == "cuda" or (hardware.device == "auto" and _may_have_gpu()):
        import torch

        if torch.cuda.is_available():
            if hardware.engine == "native":
                raise WorldwidthError("hardware.engine: found 'native', which computes on a CPU; allowed: auto, torch")
            return Compute("cuda", "torch", threads, hardware.precision != "float32")
        if hardware.device == "cuda":
            raise WorldwidthError("hardware.device: found 'cuda', but torch sees no GPU here; allowed: cpu, auto")
    if hardware.engine == "torch" or (hardware.engine == "auto" and hardware.precision == "bfloat16"):
        return Compute("cpu", "torch", threads, hardware.precision == "bfloat16")
    reason = unavailable() or ("it computes in float32 only" if hardware.precision == "bfloat16" else "")
    if reason and hardware.engine == "native":
        raise WorldwidthError(f"hardware.engine: found 'native', but {reason}; allowed: auto, torch")
    if reason:
        _say_once(reason)
    return Compute("cpu", "torch" if reason else "native", threads)


def _may_have_gpu() -> bool:
    return any((Path("/dev") / name).exists() for name in _GPU_FILES)


@cache
def _say_once(reason: str) -> None:
    print(f"worldwidth: {reason}; torch computes, which is slower", file=sys.stderr)
