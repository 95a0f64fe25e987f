"""What other people's machines are like: a shell that is not of Bourne's family, a system that is not Linux."""

from pathlib import Path

_TCSH = """#!/bin/sh
# what counts of tcsh: NAME=value before a command is no assignment, and the shell stays while the command runs
case "$2" in
    [A-Z]*=*) echo "${2%% *}: Command not found." >&2; exit 1 ;;
esac
eval "$2"
"""

MACOS = """
import fcntl, os, resource, select, signal, time
for module, names in {
    os: "sched_getaffinity sched_setaffinity sched_getscheduler posix_fadvise posix_fallocate memfd_create pidfd_open"
        " eventfd getrandom copy_file_range splice setresuid getresuid O_DIRECT O_TMPFILE",
    signal: "SIGRTMIN SIGRTMAX SIGPWR SIGSTKFLT SIGPOLL sigtimedwait sigwaitinfo pidfd_send_signal",
    resource: "prlimit RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_OFILE",
    fcntl: "F_OFD_SETLK F_SETPIPE_SZ F_NOTIFY",
    select: "epoll",
    time: "CLOCK_BOOTTIME",
}.items():
    for name in names.split():
        vars(module).pop(name, None)
"""
"""The code of a sitecustomize that takes away what Linux has and macOS lacks."""


def fake_tcsh(folder: Path) -> str:
    """The path of a program `tcsh`, which is not to be had everywhere."""
    path = folder / "tcsh"
    path.write_text(_TCSH)
    path.chmod(0o755)
    return str(path)
