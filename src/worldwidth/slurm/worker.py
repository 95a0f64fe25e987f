"""`worldwidth slurm work SPEC`: what a job does, on its node.

It works in a clone of its own at the pinned commit, takes what its stages read from DVC's run cache, runs them, and
leaves what they write in the run cache. A stage before them that is not there is not made again: that would train a
model a second time.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from worldwidth.core import signals
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_json
from worldwidth.core.signals import Stopped
from worldwidth.dvcio.cache import use_cache
from worldwidth.dvcio.forecast import RUN, Forecast, forecast_with_outs
from worldwidth.dvcio.repair import remove_empty_entries
from worldwidth.dvcio.repo import needs_of, open_repo
from worldwidth.dvcio.restore import restore
from worldwidth.engine.job import run_job
from worldwidth.settings.load import load
from worldwidth.slurm.commands import start_again
from worldwidth.slurm.graph import ancestors
from worldwidth.slurm.records import End, write_end
from worldwidth.slurm.submit import SECONDS_TO_FILL
from worldwidth.sweep.variants import Variant
from worldwidth.sweep.worktree import clone, write_params


@dataclass(frozen=True)
class Spec:
    """What a job is told."""

    name: str
    checkout: Path
    cache: Path
    commit: str
    variant: Variant
    stages: list[str]
    requeues: int


def work(path: Path) -> None:
    """Do the job described in the file ``path``.

    Raises:
        WorldwidthError: it cannot be done, or one of its stages failed; the others are done all the same.
        Stopped: it was told to stop. Before its time limit it has put itself back into the queue.
    """
    began, end = time.monotonic(), path.with_suffix(".end.json")
    outcomes: dict[str, str] = {}
    number, starts = int(os.environ.get("SLURM_JOB_ID", "0")), int(os.environ.get("SLURM_RESTART_COUNT", "0")) + 1
    spec, node = _read(path), os.environ.get("SLURMD_NODENAME", "this machine")
    print(f"{spec.name}: job {number}, start {starts}, on {node}: {' '.join(spec.stages)}", flush=True)
    end.unlink(missing_ok=True)
    code, message = 2, "it broke off; its log says why"
    try:
        if starts > spec.requeues + 1:
            raise WorldwidthError(f"started {starts} times, and cluster.requeues allows {spec.requeues} more than one")
        _work(spec, path.parent.parent / "clones" / str(number), outcomes)
        code, message = 0, ""
    except WorldwidthError as error:
        message = str(error)
        raise
    except Stopped as error:
        code, message = error.code, str(error)
        if signals.last_request() == signal.SIGUSR1:
            _come_back(spec, number, starts)
        raise
    finally:
        write_end(end, End(code, message, outcomes, node, starts, round(time.monotonic() - began, 1)))


def _read(path: Path) -> Spec:
    values = read_json(path, "hand the job in again")
    variant = Variant(**values.pop("variant"))
    return Spec(**{**values, "checkout": Path(values["checkout"]), "cache": Path(values["cache"]), "variant": variant})


def _come_back(spec: Spec, number: int, starts: int) -> None:
    """At the time limit: what is done is kept, and the job goes on where it was when Slurm starts it again."""
    if starts > spec.requeues:
        print(
            f"worldwidth: {spec.name}: its time is over for the {starts}th time, and cluster.requeues is "
            f"{spec.requeues}: not started again; allow it more, or more minutes, and hand it in again",
            file=sys.stderr,
        )
        return
    print(f"{spec.name}: its time is nearly over: back into the queue", flush=True)
    try:
        start_again(number)
    except WorldwidthError as error:  # sites can forbid it
        print(f"worldwidth: {spec.name}: {error}; hand it in again: it goes on where it was", file=sys.stderr)


def _work(spec: Spec, tree: Path, outcomes: dict[str, str]) -> None:
    for what, folder in (("the project's folder", spec.checkout), ("DVC's cache", spec.cache)):
        if not folder.is_dir():
            raise WorldwidthError(f"{folder}: not found on this node; it is {what}, and all nodes must see it")
    shutil.rmtree(tree, ignore_errors=True)
    tree.parent.mkdir(parents=True, exist_ok=True)
    os.environ["DVC_ROOT"] = str(spec.checkout)  # where training states are kept, as for temporary experiments
    try:
        clone(spec.checkout, spec.commit, tree)
        use_cache(tree, spec.cache)
        write_params(tree, spec.commit, spec.variant)
        with chdir(tree):
            remove_empty_entries(SECONDS_TO_FILL)
            _fetch_inputs(spec.stages)
            run_job(load(), spec.stages, outcomes.__setitem__)
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def _fetch_inputs(names: list[str]) -> None:
    """Put what the stages read from others into this tree, from DVC's cache, and record it in dvc.lock.

    Raises:
        WorldwidthError: the run cache does not have it, or it is damaged.
    """
    with open_repo() as repo, repo.lock:
        answers, known = forecast_with_outs(repo)
        needs = needs_of(repo)
        inputs = sorted(set().union(*(needs[stage] for stage in names)) - set(names))
        for name in inputs:
            if name not in known:
                raise WorldwidthError(_missing(answers, {name} | ancestors([name], needs)))
        restore(repo, {name: known[name] for name in inputs})


def _missing(answers: list[Forecast], wanted: set[str]) -> str:
    """What to say of the first stage of ``wanted`` that would have to run."""
    first = next(answer for answer in answers if answer.stage in wanted and answer.state == RUN)
    return (
        f"{first.stage} should have come from DVC's run cache, which does not have it ({first.reason}); it is not made "
        "a second time here: hand it in again"
    )
