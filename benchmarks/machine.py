"""The machine: its facts, and how fast it multiplies matrices, which no training step can beat."""

import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from worldwidth.core.machine import cores

_SIZES = (512, 1024, 2048, 4096)
_SECONDS = 0.3  # of every size: long enough for the clock, short enough to take turns with other work


def facts() -> dict[str, Any]:
    """What a timing depends on."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable cores": cores(),
        "load average": list(os.getloadavg()),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers", "numpy")},
    }


def _cpu_model() -> str:
    found = Path("/proc/cpuinfo")  # Linux has it
    text = found.read_text(encoding="utf-8") if found.exists() else f"model name: {platform.processor()}"
    return next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")


def gemm_peak() -> dict[str, float]:
    """GFLOP/s of square float32 products by size: the machine's peak is the largest."""
    peak: dict[str, float] = {}
    for size in _SIZES:
        a, b, out = (torch.ones(size, size) for _ in range(3))
        peak[str(size)] = 2e-9 * size**3 / _best_seconds(partial(torch.mm, a, b, out=out))
    return peak


def _best_seconds(work: Callable[[], object]) -> float:
    """The fastest call of as many as fit into a moment, after one that warms up."""
    work()
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < _SECONDS:
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best
