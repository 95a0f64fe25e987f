"""`worldwidth run`: the stages that are not up to date, several at a time, with `make` as the engine.

`dvc repro` runs one stage after another. The jobs here run side by side in the same work tree: make starts
them in the order of DVC's own graph, and a job that fails stops only what hangs on it.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_text
from worldwidth.core.locks import only_one
from worldwidth.core.signals import EXIT_INTERRUPTED, EXIT_RETRY, Stopped
from worldwidth.dvcio.forecast import CACHED, UP_TO_DATE, Forecast, forecast
from worldwidth.dvcio.repair import forecast_of_a_whole_lock, forget_the_dead, remove_empty_entries
from worldwidth.dvcio.repo import needs_of, open_repo
from worldwidth.dvcio.restore import restore_cached
from worldwidth.engine.gpus import visible_gpus
from worldwidth.pipeline.groups import Job, group_stages, plan_jobs
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.paths import scratch_folder
from worldwidth.settings.schema import Settings


def run_study(settings: Settings, jobs: int | None, gpus: list[str] | None) -> None:
    """Bring every stage up to date.

    Args:
        jobs: how many at a time; None for as many as the machine bears. Never more than one a GPU.
        gpus: ids of the GPUs to use, one a job; None for all that are visible.

    Raises:
        WorldwidthError: make is missing, another run is going on, or a stage failed.
    """
    started = time.monotonic()
    check_rendered(settings)
    if gpus is None:
        gpus = visible_gpus(settings.selected.hardware)
    threads = settings.selected.hardware.threads
    workers = count_workers(jobs, gpus, len(os.sched_getaffinity(0)) // threads)
    with only_one(run_lock(), "another `worldwidth run` is going on here: wait for it, or stop it") as lock:
        forget_the_dead()
        remove_empty_entries()
        before = forecast_of_a_whole_lock()
        to_do = {answer.stage for answer in before if answer.state != UP_TO_DATE}
        if not to_do:
            print(f"all {len(before)} stages are up to date")
            return
        if {answer.state for answer in before} <= {UP_TO_DATE, CACHED}:
            print(
                f"{len(restore_cached())} of {len(before)} stages are restored from the run cache; nothing had to run"
            )
            return
        planned = plan_jobs(group_stages(settings, workers), to_do, _needs())
        print(f"{len(to_do)} of {len(before)} stages to do in {len(planned)} jobs, {workers} at a time", flush=True)
        code = _make(planned, workers, gpus, threads, lock)
        after = forecast()
        if code or any(answer.state != UP_TO_DATE for answer in after):
            raise WorldwidthError(_left_over(after, code))
    print(f"all stages are up to date after {time.monotonic() - started:.0f} s")


def run_lock(tree: Path = Path()) -> Path:
    """The lock that is held while a run, or what is left of one, is going on in ``tree``."""
    return tree / ".dvc" / "tmp" / "worldwidth" / "run.lock"


def count_workers(jobs: int | None, gpus: list[str], cores: int) -> int:
    """Jobs at a time: one a GPU, or else one for every share of ``cores``; fewer if ``jobs`` says so."""
    if gpus:
        return min(jobs or len(gpus), len(gpus))
    return jobs or max(1, cores)


def _needs() -> dict[str, set[str]]:
    with open_repo() as repo, repo.lock:
        return needs_of(repo)


def _make(jobs: list[Job], workers: int, gpus: list[str], threads: int, lock: int) -> int:
    """Run the jobs under make; return its exit code. They hold ``lock`` too, for a SIGKILL here does not end them."""
    make = shutil.which("make")
    if not make:
        raise WorldwidthError("make: not found; install GNU make, or use `dvc repro`, which runs one stage at a time")
    path = scratch_folder() / "jobs.mk"
    command = [sys.executable, "-m", "worldwidth.cli", "job", *(["--gpus", ",".join(gpus)] if gpus else [])]
    write_text(path, makefile(jobs, shlex.join(command)))
    path_of_code = os.pathsep.join(filter(None, ("src", os.environ.get("PYTHONPATH"))))  # as the stages' commands say
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path_of_code}
    for inherited in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # `make repro` is a make itself
        environment.pop(inherited, None)
    process = subprocess.Popen(
        [make, "--keep-going", "--no-print-directory", "--jobs", str(workers), "--file", str(path)],
        env=environment,
        pass_fds=(lock,),
    )
    stopped = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_RETRY
        if number != signal.SIGINT:  # a terminal sends Ctrl-C to make and its jobs by itself
            process.terminate()  # make passes SIGTERM on, and has another use for SIGUSR1

    handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        code = process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if stopped and code:  # with 0 all was done before the signal came, or the jobs were started to ignore it
        raise Stopped(stopped, "what is finished is recorded, and a training under way is saved")
    return code


def makefile(jobs: list[Job], command: str) -> str:
    """A Makefile with one target a job; ``command`` and the job's stages make its recipe."""
    lines = [".PHONY: all " + " ".join(job.name for job in jobs), "all: " + " ".join(job.name for job in jobs)]
    for job in jobs:
        lines.append(f"{job.name}: {' '.join(job.after)}".rstrip())
        lines.append(f"\t@{command.replace('$', '$$')} {' '.join(job.stages)}")
    return "\n".join(lines) + "\n"


def _left_over(after: list[Forecast], code: int) -> str:
    left = [answer.stage for answer in after if answer.state != UP_TO_DATE]
    shown = ", ".join(left[:6]) + (f" and {len(left) - 6} more" if len(left) > 6 else "")
    return f"make ended with {code}; not done: {shown}; the rest is kept, and `worldwidth run` goes on from there"
