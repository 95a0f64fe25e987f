"""`worldwidth sweep` and `worldwidth widths`: variants, each a DVC experiment, planned together as one graph of jobs.

What variants share (cities, corpora, equal base models) is one job; jobs of several variants run side by side, each in
one of a few work trees below .dvc/tmp that share git objects and DVC's cache with this one, which stays as it is.
Uncommitted changes to tracked files are part of every variant, as with `dvc exp run`.
"""

import os
from contextlib import ExitStack, chdir
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.locks import only_one
from worldwidth.core.machine import cores
from worldwidth.dvcio.repair import remove_empty_entries, renew_damaged_hashes
from worldwidth.dvcio.stored import remove_halves
from worldwidth.engine.course import Course
from worldwidth.engine.processes import run_jobs
from worldwidth.engine.run import job_environment, job_slots, run_lock, visible_gpus
from worldwidth.engine.watch import not_done, watching_jobs
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.paths import scratch_folder
from worldwidth.settings.schema import Settings
from worldwidth.sweep.graph import plan_jobs, save_jobs, studies_in
from worldwidth.sweep.jobs import Seat, SweepJobs, failed_variants
from worldwidth.sweep.saving import still_to_run
from worldwidth.sweep.variants import Variant, chosen_variants
from worldwidth.sweep.worktree import prepare_trees, source_tree


class FailedRunsError(WorldwidthError):
    """Some variants of a sweep failed; ``reasons`` says why, by name."""

    def __init__(self, reasons: dict[str, str]) -> None:
        listed = "; ".join(f"{name} ({reason})" for name, reason in reasons.items())
        super().__init__(f"{len(reasons)} failed: {listed}. The same command runs only what is not done yet")
        self.reasons = reasons


def run_named(
    settings: Settings,
    names: list[str],
    vary: list[tuple[str, list[str]]],
    replicates: int | None,
    only: list[str],
    suffix: str,
    jobs: int | None,
    force: bool,
) -> None:
    """Run sweeps of params.yaml, with what the command line adds or replaces in each.

    Raises:
        WorldwidthError: as :func:`chosen_variants` and :func:`run_sweep` do.
    """
    run_sweep(settings, chosen_variants(settings, names, vary, replicates, only, suffix), jobs, force)
    print("`worldwidth compare` compares them")


def run_widths(settings: Settings, vary: list[tuple[str, list[str]]], jobs: int | None, force: bool) -> None:
    """Run the sweep ``widths``, with other archs, seeds or budgets where they are given."""
    run_named(settings, ["widths"], vary, None, [], "", jobs, force)


def run_sweep(settings: Settings, variants: list[Variant], jobs: int | None, force: bool) -> None:
    """Run every variant that is not done yet.

    Args:
        jobs: how many at a time; None for as many as the machine bears. Never more than one a GPU.
        force: replace experiments of the same names that are other runs.

    Raises:
        WorldwidthError: an experiment would be replaced, before anything runs.
        FailedRunsError: at the end, some variants failed.
        Stopped: this process was asked to stop.
    """
    check_rendered(settings)
    with only_one(scratch_folder() / "sweep.lock", "another sweep is going on here: wait for it"):
        source = source_tree()
        to_run = still_to_run(settings, variants, force)
        for variant in variants:
            if variant not in to_run:
                print(f"{variant.name}: already done")
        failed = _run_all(settings, source, to_run, jobs) if to_run else {}
    print(f"\n{len(variants) - len(failed)} of {len(variants)} experiments are done")
    if failed:
        raise FailedRunsError(failed)


def _run_all(settings: Settings, source: str, variants: list[Variant], jobs: int | None) -> dict[str, str]:
    """Run the variants and save each as soon as it is whole; return why some failed, by name."""
    logs = scratch_folder() / "sweep" / "logs"
    with ExitStack() as held:
        seats = _seats(variants[0].at_scale(settings), source, jobs, held)
        studies = studies_in(seats[0].tree, source, variants)
        planned = save_jobs(plan_jobs(studies, {}, len(seats)), studies)
        print(
            f"{sum(len(job.stages) for job in planned)} stages to do in {len(planned)} jobs, {len(seats)} at a time\n"
            f"what they print: {logs}",
            flush=True,
        )
        doing = SweepJobs(studies, Path.cwd())
        course = Course("worldwidth sweep", planned, len(seats), doing.label, doing.settings)
        with watching_jobs(course, logs, doing.launch, settings.selected.execution.tensorboard) as watch:
            left = run_jobs(planned, seats, watch)
        return failed_variants(planned, not_done(watch.reasons, planned, left))


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
