"""`worldwidth slurm plan`: the jobs that `make slurm` would submit, and what they ask for. Slurm need not be there."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import git, git_lines, head_commit
from worldwidth.core.locks import only_one
from worldwidth.core.text import wrapped
from worldwidth.dvcio.cache import cache_folder, use_cache
from worldwidth.dvcio.repair import remove_empty_entries
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.slurm.commands import QueueEntry, queue
from worldwidth.slurm.records import slurm_folder, submissions
from worldwidth.sweep.graph import Study, VariantJob, plan_jobs, studies_in
from worldwidth.sweep.variants import Variant, chosen_variants
from worldwidth.sweep.worktree import clone

_PINNED = ("params.yaml", "dvc.yaml", "src", "stages", "templates", ".dvc/config")
_FURTHER = 24  # columns before what a job waits for, where that is not beside it
SECONDS_TO_FILL = 60
"""An entry of the run cache that has been empty for longer was left so by a kill."""


def print_plan(
    settings: Settings,
    names: list[str],
    vary: list[tuple[str, list[str]]],
    replicates: int | None,
    only: list[str],
    suffix: str,
    as_json: bool,
) -> None:
    """Print the jobs as a table or as JSON, with the most that they can use."""
    variants = chosen_variants(settings, names, vary, replicates, only, suffix)
    with only_one(slurm_folder() / "submit.lock", "`worldwidth slurm submit` is going on here: wait for it"):
        commit = pinned_commit(settings)
        jobs = plan_jobs(studies_of(commit, cache_folder().resolve(), variants), _under_way())
    total = _total(settings, jobs)
    if as_json:
        listed = [{**asdict(job), **asdict(job.resources(settings))} for job in jobs]
        print(json.dumps({"jobs": listed, "total": total}, indent=2))
        return
    for line in _table(settings, jobs):
        print(line)
    said = (
        f"{total['jobs']} jobs, {total['stages']} stages; variants: {len(variants)}; at most "
        f"{total['core_hours']:,} core hours and {total['gpu_hours']:,} GPU hours if every job took its whole time"
    )
    print("", *wrapped(said), sep="\n")


def _table(settings: Settings, jobs: list[VariantJob]) -> Iterator[str]:
    """Under the name of each variant its jobs; one of another variant is named in full where a job waits for it."""
    yield f"{'job':<20}{'stages':>7}{'minutes':>8}{'cores':>6}{'GB':>5}{'GPUs':>5}  after"
    for variant, of_variant in groupby(jobs, key=lambda job: job.variant.name):
        yield variant
        for job in of_variant:
            asked = job.resources(settings)
            own = f"{variant}."
            names = [*map(str, job.after_ids), *(name.removeprefix(own) for name in job.after)] or ["-"]
            sizes = f"{len(job.stages):>7}{asked.minutes:>8}{asked.cores:>6}{asked.memory_gb:>5}{asked.gpus:>5}"
            text = f"  {job.name.removeprefix(own):<18}{sizes}  {names[0]}"
            yield from wrapped(" ".join([text, *names[1:]]), indent=" " * _FURTHER)


def _total(settings: Settings, jobs: list[VariantJob]) -> dict[str, Any]:
    asked = [job.resources(settings) for job in jobs]
    return {
        "jobs": len(jobs),
        "stages": sum(len(job.stages) for job in jobs),
        "core_hours": round(sum(a.cores * a.minutes for a in asked) / 60, 1),
        "gpu_hours": round(sum(a.gpus * a.minutes for a in asked) / 60, 1),
    }


def _under_way() -> dict[str, int]:
    if not shutil.which("squeue"):
        return {}
    try:
        return under_way(queue())
    except WorldwidthError as error:
        print(f"worldwidth: {error}: planned as if nothing were under way", file=sys.stderr)
        return {}


def under_way(known: dict[int, QueueEntry]) -> dict[str, int]:
    """Key of a stage -> the job, waiting or running, that does it."""
    found: dict[str, int] = {}
    for submission in submissions():
        for number, job in submission.numbered():
            entry = known.get(number)
            if entry and entry.name == job.name and entry.under_way:
                found |= dict.fromkeys(job.keys, number)
    return found


def pinned_commit(settings: Settings) -> str:
    """The commit that the jobs work on: HEAD.

    Raises:
        WorldwidthError: code or params differ from it, or a list of cities is not in it.
    """
    check_rendered(settings)
    source = settings.selected.world.source
    own_list = [] if source == "geonames" else [source]
    if own_list and not git("ls-files", "--", source):
        raise WorldwidthError(f"{source}: not in git, and jobs get their files from git; `git add` and commit it")
    words = ("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
    changed = git_lines(*words, "--", *_PINNED, *own_list)
    if changed:
        path = changed[0][3:]
        another = "" if path != PARAMS.name else "; for another width, `make slurm ARCH=wider` changes no file"
        raise WorldwidthError(f"{path}: not as committed, and jobs work on the commit; commit it or undo it{another}")
    return head_commit()


def code_tree(commit: str) -> Path:
    """The tree whose code the jobs of ``commit`` run."""
    return slurm_folder() / "trees" / commit[:12]


def studies_of(commit: str, cache: Path, variants: list[Variant]) -> dict[Variant, Study]:
    """Every variant and what DVC would do in it; asked in a tree of its own, which stays for the jobs' code."""
    tree = code_tree(commit)
    if not (tree / PARAMS).is_file():
        clone(Path.cwd(), commit, tree)
    use_cache(tree, cache, Path())
    with chdir(tree):
        remove_empty_entries(SECONDS_TO_FILL)
    return studies_in(tree, commit, variants)
