"""`worldwidth run`: the stages that are not up to date, several at a time.

`dvc repro` runs one stage after another. The jobs here run side by side in the same work tree, in the order of DVC's
own graph, and a job that fails stops only those that depend on it.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.locks import only_one
from worldwidth.core.machine import cores
from worldwidth.dvcio.forecast import CACHED, UP_TO_DATE, forecast
from worldwidth.dvcio.repair import forecast_of_a_whole_lock, remove_empty_entries, renew_damaged_hashes
from worldwidth.dvcio.repo import needs_of, open_repo
from worldwidth.dvcio.restore import restore_cached
from worldwidth.dvcio.rwlock import forget_the_dead
from worldwidth.dvcio.stored import remove_halves
from worldwidth.engine.course import Course
from worldwidth.engine.headline import print_headline
from worldwidth.engine.processes import run_jobs, start_process
from worldwidth.engine.view import duration
from worldwidth.engine.watch import watching_jobs
from worldwidth.pipeline.groups import Job, group_stages, plan_jobs
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.paths import scratch_folder
from worldwidth.settings.schema import Hardware, Settings

_DEVICES = Path("/dev")


def run_study(settings: Settings, jobs: int | None, gpus: list[str] | None) -> None:
    """Bring every stage up to date.

    Args:
        jobs: how many at a time; None for as many as the machine bears. Never more than one a GPU.
        gpus: ids of the GPUs to use, one a job; None for all that are visible.

    Raises:
        WorldwidthError: another run is going on, or some stages could not be brought up to date.
        Stopped: this process was asked to stop.
    """
    started = time.monotonic()
    check_rendered(settings)
    hardware = settings.selected.hardware
    slots = job_slots(jobs, visible_gpus(hardware) if gpus is None else gpus, cores() // hardware.threads)
    with only_one(run_lock(), "another `worldwidth run` is going on here: wait for it, or stop it") as lock:
        renew_damaged_hashes()
        with open_repo() as repo:
            forget_the_dead(repo)
        remove_halves()
        remove_empty_entries()
        before = forecast_of_a_whole_lock()
        to_do = {answer.stage for answer in before if answer.state != UP_TO_DATE}
        if not to_do:
            print(f"all {len(before)} stages are up to date")
            print_headline()
            return
        if {answer.state for answer in before} <= {UP_TO_DATE, CACHED}:
            restored = len(restore_cached())
            _refuse_left()
            print(f"{restored} of {len(before)} stages are restored from the run cache; nothing had to run")
            print_headline()
            return
        with open_repo() as repo, repo.lock:
            needs = needs_of(repo)
        planned = plan_jobs(group_stages(settings, len(slots)), to_do, needs)
        logs = scratch_folder() / "run" / "logs"
        print(
            f"{len(to_do)} of {len(before)} stages to do in {len(planned)} jobs, {len(slots)} at a time\n"
            f"what they print: {logs}",
            flush=True,
        )
        course = Course("worldwidth run", planned, len(slots), lambda job, stage: stage, lambda job: settings)
        launch = partial(_launch, job_environment(hardware), lock)
        with watching_jobs(course, logs, launch, settings.selected.execution.tensorboard) as watch:
            failed = run_jobs(planned, slots, watch)
        _refuse_left(failed)
    print(f"all stages are up to date after {duration(time.monotonic() - started)}")
    print_headline()


def _launch(
    environment: dict[str, str],
    lock: int,
    job: Job,
    slot: dict[str, str],
    further: Mapping[str, str],
    output: IO[bytes],
) -> "subprocess.Popen[bytes]":
    """Start a job in this work tree; it holds the lock of the run, too."""
    command = [sys.executable, "-m", "worldwidth.cli", "job", *job.stages]
    return start_process(command, {**environment, **slot, **further}, (lock,), output)


def _refuse_left(failed: Sequence[str] = ()) -> None:
    """Ask DVC anew whether all is up to date, and in its cache; not of the outs that git keeps, which only jobs tell.

    Args:
        failed: jobs that did not end well.

    Raises:
        WorldwidthError: it is not.
    """
    left = [answer.stage for answer in forecast() if answer.state != UP_TO_DATE]
    left = left or [f"job {name}" for name in failed]
    if left:
        with open_repo() as repo:
            forget_the_dead(repo)  # jobs that were killed: `dvc repro` would wait for whoever gets their numbers
        shown = ", ".join(left[:6]) + (f" and {len(left) - 6} more" if len(left) > 6 else "")
        raise WorldwidthError(f"not done: {shown}; the rest is kept, and `worldwidth run` goes on from there")


def job_environment(hardware: Hardware) -> dict[str, str]:
    """What every job has in its environment."""
    path_of_code = os.pathsep.join(filter(None, ("src", os.environ.get("PYTHONPATH"))))  # as in dvc.yaml
    return {"OMP_NUM_THREADS": str(hardware.threads), "PYTHONPATH": path_of_code}


def run_lock(tree: Path = Path()) -> Path:
    """The lock that is held while a run, or what is left of one, is going on in ``tree``."""
    return tree / ".dvc" / "tmp" / "worldwidth" / "run.lock"


def job_slots(jobs: int | None, gpus: list[str], most: int) -> list[dict[str, str]]:
    """One for every job at a time, with what its environment has of its own: at most one a GPU; else ``most``.

    ``jobs`` is how many there are to be, where somebody has said so.
    """
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:jobs]]
    return [{} for _ in range(jobs or max(1, most))]


def visible_gpus(hardware: Hardware) -> list[str]:
    """Ids of the GPUs that jobs may use: those of CUDA_VISIBLE_DEVICES, or all; none if the device is ``cpu``.

    Found without torch, which is slow to import.
    """
    if hardware.device == "cpu":
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu.strip() for gpu in chosen.split(",") if gpu.strip() not in ("", "-1")]
    found = [match[1] for path in _DEVICES.glob("nvidia*") if (match := re.fullmatch(r"nvidia(\d+)", path.name))]
    return sorted(found, key=int)
