"""`worldwidth slurm plan`: the jobs that `make slurm` would hand in, and what they ask for. Slurm need not be there."""

import json
import shutil
import sys
from dataclasses import asdict
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.locks import only_one
from worldwidth.dvcio.cache import cache_folder
from worldwidth.settings.schema import Budget, Settings
from worldwidth.slurm.commands import queue
from worldwidth.slurm.graph import Job, as_values, plan_jobs
from worldwidth.slurm.records import slurm_folder
from worldwidth.slurm.submit import chosen, pinned_commit, studies_of, under_way


def print_plan(
    settings: Settings, archs: list[str] | None, seeds: list[int] | None, budgets: list[Budget] | None, as_json: bool
) -> None:
    """Print the jobs as a table or as JSON, with the most that they can use."""
    variants = chosen(settings, archs, seeds, budgets)
    with only_one(slurm_folder() / "submit.lock", "`worldwidth slurm submit` is going on here: wait for it"):
        studies = studies_of(settings, pinned_commit(settings), cache_folder().resolve(), variants)
        jobs = plan_jobs(studies, _under_way())
    total = _total(settings, jobs)
    if as_json:
        listed = [{**as_values(job), **asdict(job.resources(settings))} for job in jobs]
        print(json.dumps({"jobs": listed, "total": total}, indent=2))
        return
    width = max((len(job.name) for job in jobs), default=3)
    print(f"{'job':<{width}} {'stages':>6} {'minutes':>7} {'cores':>5} {'GB':>4} {'GPUs':>4}  after")
    for job in jobs:
        asked = job.resources(settings)
        after = " ".join([*map(str, job.after_ids), *(_short(name, job) for name in job.after)]) or "-"
        sizes = f"{asked.minutes:>7} {asked.cores:>5} {asked.memory_gb:>4} {asked.gpus:>4}"
        print(f"{job.name:<{width}} {len(job.stages):>6} {sizes}  {after}")
    print(
        f"\n{total['jobs']} jobs, {total['stages']} stages; variants: {len(variants)}; at most "
        f"{total['core_hours']:,} core hours and {total['gpu_hours']:,} GPU hours if every job took its whole time"
    )


def _under_way() -> dict[str, int]:
    if not shutil.which("squeue"):
        return {}
    try:
        return under_way(queue())
    except WorldwidthError as error:
        print(f"worldwidth: {error}: planned as if nothing were under way", file=sys.stderr)
        return {}


def _short(name: str, job: Job) -> str:
    """The name of a job that another one waits for, without the variant that they share."""
    return name.removeprefix(f"{job.variant.name}.")


def _total(settings: Settings, jobs: list[Job]) -> dict[str, Any]:
    asked = [job.resources(settings) for job in jobs]
    return {
        "jobs": len(jobs),
        "stages": sum(len(job.stages) for job in jobs),
        "core_hours": round(sum(a.cores * a.minutes for a in asked) / 60, 1),
        "gpu_hours": round(sum(a.gpus * a.minutes for a in asked) / 60, 1),
    }
