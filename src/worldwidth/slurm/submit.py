"""`worldwidth slurm submit`: hands to Slurm what the chosen variants still need, as one graph of jobs.

`worldwidth slurm plan` shows the same graph and hands in nothing.
"""

import os
import shlex
import shutil
import sys
from contextlib import chdir
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_json, write_text
from worldwidth.core.git import git
from worldwidth.core.locks import only_one
from worldwidth.dvcio.cache import cache_folder, use_cache
from worldwidth.dvcio.repair import remove_empty_entries
from worldwidth.dvcio.repo import open_repo
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Budget, Settings
from worldwidth.slurm.commands import QueueEntry, hand_in, queue, require_slurm
from worldwidth.slurm.graph import Job, Stage, plan_jobs, stages_of
from worldwidth.slurm.records import Submission, Submitted, new_submission, slurm_folder, submissions
from worldwidth.sweep.variants import Variant, sweep
from worldwidth.sweep.worktree import clone, write_params

_TEMPLATES = Path("templates") / "slurm"
_PINNED = ("params.yaml", "dvc.yaml", "src", "stages", "templates", ".dvc/config")
_SECONDS_TO_SAVE = 120
"""How long before its time limit a job is told; Slurm may be up to a minute early."""
SECONDS_TO_FILL = 60
"""An entry of the run cache that has been empty for longer was left so by a kill."""

Studies = dict[Variant, tuple[Settings, dict[str, Stage]]]


def submit(settings: Settings, archs: list[str] | None, seeds: list[int] | None, budgets: list[Budget] | None) -> None:
    """Hand in the jobs of all that is missing and not under way.

    Args:
        archs, seeds, budgets: the variants are their product; None for the one of params.yaml.

    Raises:
        WorldwidthError: something speaks against it (said before anything is handed in), or Slurm refuses a job.
    """
    require_slurm()
    variants = chosen(settings, archs, seeds, budgets)
    with only_one(slurm_folder() / "submit.lock", "another `worldwidth slurm submit` is going on here: wait for it"):
        commit = pinned_commit(settings)
        cache = shared_cache(settings)
        known = queue()
        _tidy(commit, known)
        jobs = plan_jobs(studies_of(settings, commit, cache, variants), under_way(known))
        if not jobs:
            print("nothing to hand in: all is done or under way; `worldwidth slurm status` says which")
            return
        _hand_in_all(settings, cache, new_submission(commit, variants), jobs)


def _hand_in_all(settings: Settings, cache: Path, made: Submission, jobs: list[Job]) -> None:
    ids: dict[str, int] = {}
    print(f"logs and scripts: {made.folder}")
    for job in jobs:
        script = write_script(settings, cache, made, job)
        after = sorted([*(ids[name] for name in job.after), *job.after_ids])
        try:
            ids[job.name] = hand_in(script, after)
        except WorldwidthError as error:
            if not ids:
                shutil.rmtree(made.folder)
            some = f"{len(ids)} of {len(jobs)} jobs are handed in; the same command goes on"
            done = some if ids else "no job is handed in"
            raise WorldwidthError(f"{job.name}: {error}; {done}") from None
        stages = dict(zip(job.stages, job.keys, strict=True))
        made.jobs.append(Submitted(job.name, ids[job.name], job.variant, stages, after))
        made.write()
        print(f"{ids[job.name]:>8}  {job.name}: {' '.join(job.stages)}")
    print(
        f"{len(jobs)} jobs handed in; `worldwidth slurm status` says how they are, `worldwidth slurm collect` ends it"
    )


def chosen(
    settings: Settings, archs: list[str] | None, seeds: list[int] | None, budgets: list[Budget] | None
) -> list[Variant]:
    """The variants asked for; what is None is as in params.yaml."""
    return sweep(settings, archs or [settings.arch], seeds or [settings.seed], budgets or [settings.budget])


def pinned_commit(settings: Settings) -> str:
    """The commit that the jobs work on: HEAD.

    Raises:
        WorldwidthError: code or params differ from it, or a list of cities is not in it.
    """
    check_rendered(settings)
    changed = git("status", "--porcelain", "--", *_PINNED).splitlines()
    if changed:
        path = changed[0][3:]
        another = "" if path != PARAMS.name else "; for another width, `make slurm ARCH=wider` changes no file"
        raise WorldwidthError(f"{path}: not as committed, and jobs work on the commit; commit it or undo it{another}")
    source = settings.selected.world.source
    if source != "geonames" and not git("ls-files", "--", source):
        raise WorldwidthError(f"{source}: not in git, and jobs get their files from git; `git add` and commit it")
    return git("rev-parse", "HEAD")


def shared_cache(settings: Settings) -> Path:
    """DVC's cache.

    Raises:
        WorldwidthError: it, or this project, does not lie in the folder that all nodes share.
    """
    shared, cache = Path(settings.cluster.shared_folder).resolve(), cache_folder().resolve()
    if not shared.is_dir():
        raise WorldwidthError(f"{PARAMS}: cluster.shared_folder: found '{shared}'; it must be a folder that is there")
    for what, path, remedy in (
        ("this project", Path.cwd().resolve(), "clone it there"),
        ("DVC's cache", cache, f"`dvc cache dir --local {shlex.quote(str(shared / 'dvc-cache'))}` moves it there"),
    ):
        if not path.is_relative_to(shared):
            raise WorldwidthError(
                f"{what} lies in {path}, not in cluster.shared_folder {shared}, which all nodes see: {remedy}, or name "
                f"another folder in {PARAMS}"
            )
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def studies_of(settings: Settings, commit: str, cache: Path, variants: list[Variant]) -> Studies:
    """Every variant and what DVC would do in it; asked in a tree of its own, which stays for the jobs' code."""
    tree = code_tree(commit)
    if not (tree / PARAMS).is_file():
        shutil.rmtree(tree, ignore_errors=True)
        tree.parent.mkdir(parents=True, exist_ok=True)
        clone(Path.cwd(), commit, tree)
    use_cache(tree, cache)
    studies: Studies = {}
    with chdir(tree):
        remove_empty_entries(SECONDS_TO_FILL)
        for variant in variants:
            write_params(Path(), commit, variant)
            with open_repo() as repo, repo.lock:
                own = variant.of(settings)
                studies[variant] = own, stages_of(repo, own)
    return studies


def code_tree(commit: str) -> Path:
    """The tree whose code the jobs of ``commit`` run."""
    return slurm_folder() / "trees" / commit[:12]


def under_way(known: dict[int, QueueEntry]) -> dict[str, int]:
    """Key of a stage -> the job, waiting or running, that does it."""
    found: dict[str, int] = {}
    for submission in submissions():
        for job in submission.jobs:
            entry = known.get(job.id)
            if entry and entry.name == job.name and entry.under_way:
                found |= dict.fromkeys(job.stages.values(), job.id)
    return found


def _tidy(commit: str, known: dict[int, QueueEntry]) -> None:
    """Delete the clones of jobs that were killed and will not come back, and the code of commits that nobody runs."""
    busy = {number for number, entry in known.items() if entry.under_way}
    for folder in (slurm_folder() / "clones").glob("*"):
        if not folder.name.isdecimal() or int(folder.name) not in busy:
            shutil.rmtree(folder, ignore_errors=True)
    needed = {code_tree(made.commit) for made in submissions() if busy & {job.id for job in made.jobs}}
    for folder in code_tree(commit).parent.glob("*"):
        if folder not in needed | {code_tree(commit)}:
            shutil.rmtree(folder, ignore_errors=True)


def write_script(settings: Settings, cache: Path, made: Submission, job: Job) -> Path:
    """Write what a job is given: its script and its description."""
    spec, script = made.folder / f"{job.name}.json", made.folder / f"{job.name}.sh"
    write_json(
        spec,
        {
            "name": job.name,
            "checkout": str(Path.cwd()),
            "cache": str(cache),
            "commit": made.commit,
            "variant": asdict(job.variant),
            "stages": list(job.stages),
            "requeues": settings.cluster.requeues,
        },
    )
    write_text(script, render_script(settings, made, job, spec))
    return script


def render_script(settings: Settings, made: Submission, job: Job, spec: Path) -> str:
    """The text that sbatch is given."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters["shell"] = lambda value: shlex.quote(str(value))
    environment.filters["sbatch"] = lambda value: f'"{str(value).replace("%", "%%")}"'  # % begins a pattern
    asked = job.resources(settings)
    return environment.get_template("job.sh.j2").render(
        job=job,
        asked=asked,
        cluster=settings.cluster,
        log=made.log(job.name),
        seconds_to_save=min(_SECONDS_TO_SAVE, asked.minutes * 30),
        checkout=Path.cwd(),
        code=os.pathsep.join(filter(None, (str(code_tree(made.commit) / "src"), os.environ.get("PYTHONPATH")))),
        threads=settings.selected.hardware.threads,
        python="python" if settings.cluster.activate else sys.executable,
        spec=spec,
    )
