"""Slurm's own commands: submitting a job, asking what became of it. Nothing here needs Slurm's accounting.

The only module that knows sbatch, squeue, scontrol and sacct.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from worldwidth.core.errors import WorldwidthError

WAITING = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "SUSPENDED", "RESV_DEL_HOLD"}
)
RUNNING = frozenset({"RUNNING", "CONFIGURING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING"})
CANCELLED = frozenset({"CANCELLED", "REVOKED", "DEADLINE"})
COMPLETED = "COMPLETED"


@dataclass(frozen=True)
class QueueEntry:
    """What Slurm says of a job."""

    state: str
    """Slurm's word, such as ``PENDING`` or ``NODE_FAIL``."""
    name: str = ""
    reason: str = ""
    node: str = ""
    elapsed: str = ""

    @property
    def under_way(self) -> bool:
        """Whether the job may still end well."""
        never = self.state == "PENDING" and self.reason == "DependencyNeverSatisfied"
        return self.state in WAITING | RUNNING and not never


def require_slurm() -> None:
    """Raises: WorldwidthError: this is no machine of a Slurm cluster."""
    missing = [name for name in ("sbatch", "squeue", "scontrol") if not shutil.which(name)]
    if missing:
        raise WorldwidthError(
            f"{missing[0]}: not found; this is for a machine from which jobs are submitted to a Slurm cluster: "
            "`make repro` runs the study on this one"
        )


def submit_script(script: Path, after: list[int]) -> int:
    """Give a script to Slurm; return the number of the job.

    Raises:
        WorldwidthError: Slurm refuses it; the text is Slurm's own.
    """
    dependency = [f"--dependency=afterok:{':'.join(map(str, after))}"] if after else []
    return int(_ask("sbatch", "--parsable", *dependency, str(script)).split(";")[0])


def queue() -> dict[int, QueueEntry]:
    """The jobs of this user that Slurm still knows, ended ones too; those it forgets some time after their end.

    Raises:
        WorldwidthError: Slurm does not answer.
    """
    lines = _ask("squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%j|%r|%N|%M")
    found: dict[int, QueueEntry] = {}
    for line in lines.splitlines():
        number, *words = line.split("|")
        if number.isdecimal():  # elements of job arrays are no jobs of ours
            found[int(number)] = QueueEntry(*words)
    return found


def accounted(numbers: list[int]) -> dict[int, QueueEntry]:
    """What Slurm's accounting remembers of jobs that it has forgotten otherwise; nothing where there is none."""
    if not numbers:
        return {}
    words = ("--noheader", "--allocations", "--parsable2", "--format=JobIDRaw,State,JobName,NodeList,Elapsed")
    try:
        lines = _ask("sacct", *words, f"--jobs={','.join(map(str, numbers))}")
    except WorldwidthError:
        return {}
    found: dict[int, QueueEntry] = {}
    for line in lines.splitlines():
        number, state, name, *rest = line.split("|")
        if number.isdecimal():
            found[int(number)] = QueueEntry(state.split()[0], name, "", *rest)  # "CANCELLED by 1000"
    return found


def requeue(number: int) -> None:
    """Put a running job back into the queue, under the same number.

    Raises:
        WorldwidthError: Slurm refuses.
    """
    _ask("scontrol", "requeue", str(number))


def _ask(*command: str) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise WorldwidthError(f"{command[0]}: {error.strerror}") from None
    if ran.returncode:
        said = [line.strip() for line in ran.stderr.splitlines() if line.strip()] or [f"ended with {ran.returncode}"]
        raise WorldwidthError(f"{command[0]}: {said[-1].removeprefix(f'{command[0]}: ').removeprefix('error: ')}")
    return ran.stdout.strip()
