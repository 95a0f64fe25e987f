"""`worldwidth slurm collect`: the results of what was submitted, restored here from DVC's run cache. Nothing runs.

The variant that params.yaml names comes into this checkout; it, if it was submitted with others, and every other one
become DVC experiments, as with `worldwidth widths`.
"""

from contextlib import chdir
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import head_commit
from worldwidth.core.locks import only_one
from worldwidth.dvcio.forecast import forecast, still_to_do
from worldwidth.dvcio.repair import forecast_of_a_whole_lock
from worldwidth.dvcio.restore import restore_cached
from worldwidth.engine.run import run_lock
from worldwidth.pipeline.render import check_rendered
from worldwidth.settings.paths import scratch_folder
from worldwidth.settings.schema import Settings
from worldwidth.slurm.records import some_submissions
from worldwidth.slurm.used import used, used_lines
from worldwidth.sweep.saving import save_experiment, still_to_run
from worldwidth.sweep.variants import Variant
from worldwidth.sweep.worktree import prepare_trees, write_variant


def collect(settings: Settings, force: bool) -> None:
    """Restore all variants that were submitted last, and those submitted before at the same commit.

    Args:
        force: replace experiments of the same names that are other runs.

    Raises:
        WorldwidthError: some of it is missing; what is there is restored all the same.
    """
    check_rendered(settings)
    variants = _submitted()
    missing: dict[str, list[str]] = {}
    for variant in variants:
        lacking, places = [], []
        is_here = variant.of(settings) == settings
        if is_here:
            lacking, places = _restore_here(), ["restored here"]
        if not lacking and (not is_here or len(variants) > 1):
            lacking, places = _save_experiment(settings, variant, force), [*places, "saved as an experiment"]
        if lacking:
            missing[variant.name] = lacking
        print(f"{variant.name}: {f'missing: {_listed(lacking)}' if lacking else ' and '.join(places)}", flush=True)
    print("", *used_lines(used(settings, some_submissions())), sep="\n")
    if missing:
        raise WorldwidthError(
            f"{len(missing)} of {len(variants)} variants are not whole; `worldwidth slurm status` says why, and the "
            "same `make slurm` submits what is missing"
        )


def _submitted() -> list[Variant]:
    """The variants submitted at the commit of the last submission."""
    made = some_submissions()
    return list(dict.fromkeys(variant for one in made if one.commit == made[-1].commit for variant in one.variants))


def _restore_here() -> list[str]:
    """Restore what the run cache has into this checkout; return the stages that it lacks."""
    with only_one(run_lock(), "`worldwidth run` is going on here: wait for it, or stop it"):
        forecast_of_a_whole_lock()
        restore_cached()
        return still_to_do(forecast())


def _save_experiment(settings: Settings, variant: Variant, force: bool) -> list[str]:
    """Make an experiment of a variant that is whole; return the stages that it lacks otherwise.

    Raises:
        WorldwidthError: it could not be saved.
    """
    with only_one(scratch_folder() / "sweep.lock", "a sweep is going on here: wait for it"):
        source = head_commit()
        if not still_to_run(settings, [variant], force):
            return []
        (tree,) = prepare_trees(settings, source, 1)
        write_variant(tree, source, variant)
        repository = Path.cwd()
        with chdir(tree):
            return save_experiment(variant.name, repository)


def _listed(names: list[str]) -> str:
    return f"{len(names)} stages: " + ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
