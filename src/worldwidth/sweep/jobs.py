"""The jobs of a sweep on this machine: each a process in one of a few work trees, its output in a log of its own."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from worldwidth.engine.processes import start_process
from worldwidth.settings.schema import Settings
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


@dataclass(frozen=True)
class SweepJobs:
    """How the jobs are started, and what they are called."""

    studies: Mapping[Variant, Study]
    repository: Path
    """Whose experiments the variants become."""

    def launch(
        self, job: VariantJob, seat: Seat, further: Mapping[str, str], output: IO[bytes]
    ) -> "subprocess.Popen[bytes]":
        """Set the tree of ``seat`` to the variant of ``job``, and start it there."""
        set_tree(seat.tree, self.studies[job.variant].files)
        save = [] if job.stages else ["--save", job.variant.name, str(self.repository)]
        command = [sys.executable, "-m", "worldwidth.cli", "work", *job.stages, *save]
        return start_process(command, {**seat.environment, **further}, [seat.lock], output, seat.tree)

    def settings(self, job: VariantJob) -> Settings:
        """What a job runs with."""
        return self.studies[job.variant].settings

    @staticmethod
    def label(job: VariantJob, stage: str) -> str:
        """A stage of a job, for people; the variant alone if there is none."""
        return f"{job.variant.name} {stage}".rstrip()


def failed_variants(jobs: Sequence[VariantJob], not_done: Mapping[str, str]) -> dict[str, str]:
    """Name of every variant that is not saved -> why, given that of every job that is not done."""
    return {job.variant.name: not_done[job.name] for job in jobs if job.name in not_done and not job.stages}
