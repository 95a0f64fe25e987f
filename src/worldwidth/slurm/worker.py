"""`worldwidth slurm work JOB`: what a job does, on its node.

It works in a clone of its own at the pinned commit, takes what its stages read from DVC's run cache, runs them, and
leaves what they write in the run cache. A stage before them that is not in the run cache is not made again: that would
train a model a second time.
"""

import os
import resource
import shutil
import signal
import sys
import time
from contextlib import chdir
from pathlib import Path

from worldwidth.core import signals
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.signals import Stopped
from worldwidth.dvcio.cache import use_cache
from worldwidth.dvcio.repair import remove_empty_entries
from worldwidth.dvcio.restore import restore_inputs
from worldwidth.dvcio.stored import remove_halves
from worldwidth.engine.job import run_job
from worldwidth.engine.memory import peak_bytes
from worldwidth.settings.load import load
from worldwidth.slurm.commands import requeue
from worldwidth.slurm.plan import SECONDS_TO_FILL
from worldwidth.slurm.records import End, Submission, read_submission
from worldwidth.sweep.graph import VariantJob
from worldwidth.sweep.worktree import clone, write_variant


def work(job: Path) -> None:
    """Do a job: the folder of its submission, and its name.

    Raises:
        WorldwidthError: it cannot be done, or one of its stages failed; the others are done all the same.
        Stopped: it was asked to stop. Before its time limit it has put itself back into the queue.
    """
    began = time.monotonic()
    number, starts = int(os.environ.get("SLURM_JOB_ID", "0")), int(os.environ.get("SLURM_RESTART_COUNT", "0")) + 1
    made, node = read_submission(job.parent), os.environ.get("SLURMD_NODENAME", "this machine")
    own = made.job(job.name)
    print(f"{own.name}: job {number}, start {starts}, on {node}: {' '.join(own.stages)}", flush=True)
    made.file(own.name, ".end.json").unlink(missing_ok=True)
    outcomes: dict[str, str] = {}
    code, message = 2, "it broke off; its log says why"
    try:
        if starts > made.requeues + 1:
            raise WorldwidthError(f"started {starts} times, and cluster.requeues allows {made.requeues} more than one")
        _work(made, own, made.folder.parent / "clones" / str(number), outcomes)
        code, message = 0, ""
    except WorldwidthError as error:
        message = str(error)
        raise
    except Stopped as error:
        code, message = error.code, str(error)
        if signals.last_request() == signal.SIGUSR1:
            _requeue(own, number, starts, made.requeues)
        raise
    finally:
        seconds = round(time.monotonic() - began, 1)
        peak = peak_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        made.write_end(own.name, End(code, message, outcomes, node, starts, seconds, peak))


def _requeue(job: VariantJob, number: int, starts: int, requeues: int) -> None:
    """At the time limit: what is done is kept, and the job goes on where it was when Slurm starts it again."""
    if starts > requeues:
        print(
            f"worldwidth: {job.name}: its time is over for the {starts}th time, and cluster.requeues is {requeues}: "
            "not started again; allow it more, or more minutes, and submit it again",
            file=sys.stderr,
        )
        return
    print(f"{job.name}: its time is nearly over: back into the queue", flush=True)
    try:
        requeue(number)
    except WorldwidthError as error:  # sites can forbid it
        print(f"worldwidth: {job.name}: {error}; submit it again: it goes on where it was", file=sys.stderr)


def _work(made: Submission, job: VariantJob, tree: Path, outcomes: dict[str, str]) -> None:
    for what, folder in (("the project's folder", made.checkout), ("DVC's cache", made.cache)):
        if not folder.is_dir():
            raise WorldwidthError(f"{folder}: not found on this node; it is {what}, and all nodes must see it")
    os.environ["DVC_ROOT"] = str(made.checkout)  # where training states are kept, as for temporary experiments
    try:
        clone(made.checkout, made.commit, tree)
        use_cache(tree, made.cache, made.checkout)
        write_variant(tree, made.commit, job.variant)
        with chdir(tree):
            remove_halves(SECONDS_TO_FILL)
            remove_empty_entries(SECONDS_TO_FILL)
            restore_inputs(list(job.stages))
            run_job(load(), list(job.stages), outcomes.__setitem__)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
