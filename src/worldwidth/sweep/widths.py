"""`worldwidth widths`: widths x seeds x budgets, each a DVC experiment, planned together as one graph of jobs.

What variants share (cities, corpora, equal base models) is one job; jobs of several variants run side by side, each in
one of a few work trees below .dvc/tmp that share git objects and DVC's cache with this one, which stays as it is.
Uncommitted changes to tracked files are part of every variant, as with `dvc exp run`.
"""

import os
import shutil
from contextlib import ExitStack, chdir
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.locks import only_one
from worldwidth.core.machine import cores
from worldwidth.dvcio.repair import remove_empty_entries, renew_damaged_hashes
from worldwidth.dvcio.stored import remove_halves
from worldwidth.engine.processes import run_jobs
from worldwidth.engine.run import job_environment, job_slots, run_lock, visible_gpus
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.paths import scratch_folder
from worldwidth.settings.schema import Budget, Settings
from worldwidth.sweep.graph import plan_jobs, save_jobs, studies_in
from worldwidth.sweep.jobs import Seat, SweepJobs
from worldwidth.sweep.saving import present_experiment
from worldwidth.sweep.variants import Variant, sweep
from worldwidth.sweep.worktree import prepare_trees, source_tree


def run_widths(
    settings: Settings, archs: list[str] | None, seeds: list[int] | None, budgets: list[Budget] | None, jobs: int | None
) -> None:
    """Run every variant that is not done yet; None stands for all archs, and for the seed and budget of params.yaml.

    Args:
        jobs: how many at a time; None for as many as the machine bears. Never more than one a GPU.

    Raises:
        WorldwidthError: a name is unknown or a variant's settings cannot be, before anything runs; or, at the
            end, some variants failed.
        Stopped: this process was asked to stop.
    """
    check_rendered(settings)
    variants = sweep(settings, archs or list(settings.selected.archs), seeds, budgets)
    with only_one(scratch_folder() / "widths.lock", "another `worldwidth widths` is going on here: wait for it"):
        source = source_tree()
        present = [variant for variant in variants if present_experiment(settings, variant, source)]
        for variant in present:
            print(f"{variant.name}: already done")
        to_run = [variant for variant in variants if variant not in present]
        failed = _run_all(settings, source, to_run, jobs) if to_run else {}
    done = f"{len(variants) - len(failed)} of {len(variants)} experiments"
    print(f"\n{done} are done: `worldwidth compare` compares them")
    if failed:
        listed = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
        raise WorldwidthError(f"{len(failed)} failed: {listed}. The same command runs only what is not done yet")


def _run_all(settings: Settings, source: str, variants: list[Variant], jobs: int | None) -> dict[str, str]:
    """Run the variants and save each as soon as it is whole; return why some failed, by name."""
    logs = scratch_folder() / "sweep" / "logs"
    with ExitStack() as held:
        seats = _seats(settings, source, jobs, held)
        studies = studies_in(seats[0].tree, source, settings, variants)
        planned = save_jobs(plan_jobs(studies, {}, len(seats)), studies)
        print(
            f"{sum(len(job.stages) for job in planned)} stages to do in {len(planned)} jobs, {len(seats)} at a time; "
            f"what they print: {logs}",
            flush=True,
        )
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        starter = SweepJobs(planned, studies, Path.cwd(), logs)
        return starter.failures(run_jobs(planned, seats, starter))


def _seats(settings: Settings, source: str, jobs: int | None, held: ExitStack) -> list[Seat]:
    """A work tree for every job at a time, free of what a kill left there, and locked until ``held`` is left."""
    hardware = settings.selected.hardware
    slots = job_slots(jobs, visible_gpus(hardware), cores() // hardware.threads)
    root = os.environ.get("DVC_ROOT", str(Path.cwd()))  # where training states are kept
    environment = {**job_environment(hardware), "DVC_ROOT": root}
    seats: list[Seat] = []
    for tree, slot in zip(prepare_trees(settings, source, len(slots)), slots, strict=True):
        lock = held.enter_context(only_one(run_lock(tree), f"{tree}: in use by another process; wait for it"))
        seats.append(Seat(tree, lock, environment | slot))
        with chdir(tree):
            renew_damaged_hashes()
    with chdir(seats[0].tree):  # all share one cache
        remove_halves()
        remove_empty_entries()
    return seats
