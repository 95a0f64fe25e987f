"""The jobs of a sweep on this machine: each a process in one of a few work trees, its output in a log of its own."""

import re
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from worldwidth.core.files import read_text
from worldwidth.engine.processes import killed, start_process
from worldwidth.sweep.graph import Study, VariantJob
from worldwidth.sweep.variants import Variant
from worldwidth.sweep.worktree import set_tree


@dataclass(frozen=True)
class Seat:
    """Where one job at a time is done."""

    tree: Path
    lock: int
    """An open file, whose holder holds the lock of the tree."""
    environment: dict[str, str]
    """What a job has in its environment there, such as the GPU that is its own."""


@dataclass
class SweepJobs:
    """How the jobs are started, and what became of them."""

    jobs: Sequence[VariantJob]
    studies: Mapping[Variant, Study]
    repository: Path
    """Whose experiments the variants become."""
    logs: Path
    """An empty folder."""
    _began: dict[str, float] = field(default_factory=dict)
    _ended: int = 0
    _reasons: dict[str, str] = field(default_factory=dict)

    def start(self, job: VariantJob, slot: Seat) -> "subprocess.Popen[bytes]":
        """Set the tree of ``slot`` to the variant of ``job``, and start it there."""
        set_tree(slot.tree, self.studies[job.variant].files)
        save = [] if job.stages else ["--save", job.variant.name, str(self.repository)]
        command = [sys.executable, "-m", "worldwidth.cli", "work", *job.stages, *save]
        self._began[job.name] = time.monotonic()
        with self._log(job.name).open("wb") as output:
            return start_process(command, slot.environment, [slot.lock], slot.tree, output)

    def ended(self, job: VariantJob, code: int, peak: int) -> None:
        """Print a line of it."""
        self._ended += 1
        seconds = time.monotonic() - self._began[job.name]
        variant = job.variant.name
        what = job.name.removeprefix(f"{variant}.")
        if code == 0:
            done = f"{what}, {seconds:.0f} s" if job.stages else "saved"
            print(f"[{self._ended} of {len(self.jobs)}] {variant}: {done}", flush=True)
        else:
            log = self._log(job.name)
            self._reasons[job.name] = killed(code, peak) if code < 0 else _last_error(log) or f"exit code {code}"
            print(f"worldwidth: {job.name}: {self._reasons[job.name]} ({log})", file=sys.stderr, flush=True)

    def failures(self, not_done: Collection[str]) -> dict[str, str]:
        """Name of every variant that is not saved -> why, given the jobs that did not end well or were not started."""
        reasons: dict[str, str] = {}
        for job in self.jobs:  # none before one that it waits for
            if job.name in not_done:
                before = [reasons[name] for name in job.after if name in reasons]
                reasons[job.name] = self._reasons.get(job.name) or before[0]
        return {job.variant.name: reasons[job.name] for job in self.jobs if job.name in reasons and not job.stages}

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def _last_error(log: Path) -> str:
    """The last of the lines that a job has printed for people, without its beginning."""
    found = re.findall(r"^worldwidth: (.+)$", read_text(log, "utf-8"), re.MULTILINE)
    return str(found[-1]) if found else ""
