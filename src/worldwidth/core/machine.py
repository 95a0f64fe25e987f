"""What the processes here may use of the machine: what it has, or less, where a container or batch system says so."""

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_PROCESSOR = Path("/proc/cpuinfo")


def cores() -> int:
    """The CPU cores that this process may use; macOS only knows how many there are.

    A container that may use 1.5 cores' time of 64 sees all of them; it gets 2.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [text.split() for text in _limits("", "cpu.max")]
    times, periods = _limits("cpu", "cpu.cfs_quota_us"), _limits("cpu", "cpu.cfs_period_us")
    shares += [list(share) for share in zip(times, periods, strict=False)]
    return min([here, *(math.ceil(int(time) / int(period)) for time, period in shares if time.isdecimal())])


def memory() -> int:
    """Bytes that the processes here may hold."""
    import psutil  # type: ignore[import-untyped]

    limits = [*_limits("", "memory.max"), *_limits("memory", "memory.limit_in_bytes")]
    return min([int(psutil.virtual_memory().total), *(int(text) for text in limits if text.isdecimal())])


def processor_flags() -> set[str]:
    """What the processor can do, under Linux's names; none where no Linux says so."""
    lines = _PROCESSOR.read_text(encoding="utf-8").splitlines() if _PROCESSOR.is_file() else []
    return set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def _limits(controller: str, file: str) -> list[str]:
    """What ``file`` says in the control groups that this process is in, the innermost first.

    ``controller`` is that of version 1 of control groups; version 2 has one tree for all, under the name "".
    """
    found: list[str] = []
    lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines() if _OWN_CGROUP.is_file() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controller in controllers.split(","):
            inside = Path(path.lstrip("/"))
            places = [_CGROUPS / controllers / group / file for group in (inside, *inside.parents)]
            found += [place.read_text(encoding="utf-8").strip() for place in places if place.is_file()]
    return found
