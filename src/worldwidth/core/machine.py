"""What the machine has, asked in a way that every supported system answers."""

import os


def cores() -> int:
    """The CPU cores that this process may use; macOS only knows how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
