"""What is said of a process that was killed, as where memory ran out, for the kernel says nothing itself."""

import sys

from worldwidth.core.machine import memory

ADVICE = "run fewer jobs at a time (`--jobs 1`), or take a smaller batch_size"


def probably_out_of_memory(peak: int) -> str:
    """What is to be said of a process that got SIGKILL; ``peak`` is the most that it held, in bytes.

    The kernel sends it where memory runs out. So can anybody else, hence "probably".
    """
    held, there = (f"{number / 1e9:.2f} GB" for number in (peak, memory()))
    return f"probably out of memory: it held {held}, and {there} are there; {ADVICE}"


def peak_bytes(maxrss: int) -> int:
    """``ru_maxrss`` in bytes: Linux counts kibibytes there, macOS bytes."""
    return maxrss if sys.platform == "darwin" else 1024 * maxrss
