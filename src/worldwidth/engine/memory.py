"""Memory: how much there is, and what is said of a process that was killed, for the kernel says nothing itself."""

import sys
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")

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


def memory() -> int:
    """Bytes that the processes here may hold: what the machine has, or what a container or batch system allows."""
    import psutil  # type: ignore[import-untyped]

    return min([int(psutil.virtual_memory().total), *_limits()])


def _limits() -> list[int]:
    """The limits of the control groups, version 1 or 2, that this process is in."""
    found: list[int] = []
    lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines() if _OWN_CGROUP.is_file() else []
    for _, kinds, path in (line.split(":", 2) for line in lines):
        if kinds in ("", "memory"):
            folder, file = (_CGROUPS, "memory.max") if not kinds else (_CGROUPS / kinds, "memory.limit_in_bytes")
            inside = Path(path.lstrip("/"))
            texts = [_text(folder / group / file) for group in (inside, *inside.parents)]
            found += [int(text) for text in texts if text.isdecimal()]  # the others say "max", or are not there
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
