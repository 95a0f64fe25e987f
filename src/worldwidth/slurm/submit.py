"""`worldwidth slurm submit`: gives Slurm what the chosen variants still need, as one graph of jobs.

`worldwidth slurm plan` shows the same graph and submits nothing.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_text
from worldwidth.core.locks import only_one
from worldwidth.dvcio.cache import cache_folder
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.slurm.commands import QueueEntry, queue, require_slurm, submit_script
from worldwidth.slurm.plan import code_tree, pinned_commit, studies_of, under_way
from worldwidth.slurm.records import Submission, new_folder, slurm_folder, submissions
from worldwidth.sweep.graph import VariantJob, plan_jobs
from worldwidth.sweep.saving import still_to_run
from worldwidth.sweep.variants import chosen_variants

_TEMPLATES = Path("templates") / "slurm"
_SECONDS_TO_SAVE = 120
"""How long before its time limit a job gets a signal; Slurm may be up to a minute early."""


def submit(
    settings: Settings,
    names: list[str],
    vary: list[tuple[str, list[str]]],
    replicates: int | None,
    only: list[str],
    suffix: str,
    force: bool,
) -> None:
    """Submit the jobs of all that is missing and not under way.

    Args:
        names: sweeps of params.yaml; none for what the others say alone, and without them for the one study of
            params.yaml.
        force: do so where `worldwidth slurm collect` will have to replace experiments, too.

    Raises:
        WorldwidthError: something speaks against it (said before anything is submitted), or Slurm refuses a job.
    """
    require_slurm()
    variants = chosen_variants(settings, names, vary, replicates, only, suffix)
    with only_one(slurm_folder() / "submit.lock", "another `worldwidth slurm submit` is going on here: wait for it"):
        commit = pinned_commit(settings)
        cache = shared_cache(settings)
        if len(variants) > 1 or variants[0].of(settings) != settings:  # what is collected as experiments
            still_to_run(settings, variants, force)
        known = queue()
        _tidy(commit, known)
        jobs = tuple(plan_jobs(studies_of(commit, cache, variants), under_way(known)))
        if not jobs:
            print("nothing to submit: all is done or under way; `worldwidth slurm status` says which")
            return
        checkout, requeues = Path.cwd(), settings.cluster.requeues
        _submit_all(settings, Submission(new_folder(), {}, checkout, cache, commit, requeues, tuple(variants), jobs))


def _submit_all(settings: Settings, made: Submission) -> None:
    print(f"logs and scripts: {made.folder}")
    made.write()
    for job in made.jobs:
        script = made.file(job.name, ".sh")
        write_text(script, _script(settings, made, job))
        try:
            number = submit_script(script, made.waits_for(job))
        except WorldwidthError as error:
            if not made.ids:
                shutil.rmtree(made.folder)
            some = f"{len(made.ids)} of {len(made.jobs)} jobs are submitted; the same command submits the rest"
            raise WorldwidthError(f"{job.name}: {error}; {some if made.ids else 'no job is submitted'}") from None
        made.add_id(job.name, number)
        print(f"{number:>8}  {job.name}: {' '.join(job.stages)}")
    print(
        f"{len(made.jobs)} jobs submitted; `worldwidth slurm status` says what became of them, `worldwidth slurm "
        "collect` restores the results"
    )


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


def _tidy(commit: str, known: dict[int, QueueEntry]) -> None:
    """Delete the clones of jobs that were killed and will not come back, and the code of commits that nobody runs."""
    busy = {number for number, entry in known.items() if entry.under_way}
    for folder in (slurm_folder() / "clones").glob("*"):
        number = folder.name.removeprefix(".").removesuffix(".tmp")  # so named while it is being made
        if not number.isdecimal() or int(number) not in busy:
            shutil.rmtree(folder, ignore_errors=True)
    needed = {code_tree(made.commit) for made in submissions() if busy & set(made.ids.values())} | {code_tree(commit)}
    for folder in code_tree(commit).parent.glob("*"):
        if folder not in needed:
            shutil.rmtree(folder, ignore_errors=True)


def _script(settings: Settings, made: Submission, job: VariantJob) -> str:
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
        log=made.file(job.name, ".log"),
        seconds_to_save=min(_SECONDS_TO_SAVE, asked.minutes * 30),
        checkout=made.checkout,
        code=os.pathsep.join(filter(None, (str(code_tree(made.commit) / "src"), os.environ.get("PYTHONPATH")))),
        threads=job.variant.at_scale(settings).selected.hardware.threads,
        python="python" if settings.cluster.activate else sys.executable,
        work=made.file(job.name, ""),
    )
