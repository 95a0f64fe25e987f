"""`worldwidth widths`: widths x seeds x budgets, each a DVC experiment, in a work tree of its own.

The runs take place in a clone below .dvc/tmp that shares git objects and DVC's cache with this one, so that this
tree stays as it is. One clone for all of them: what two runs share (cities, corpora, equal base models) is made
once. Uncommitted changes to tracked files are part of every run, as with `dvc exp run`.
"""

import os
import re
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import file_at, git, head_commit
from worldwidth.core.locks import only_one
from worldwidth.core.signals import EXIT_INTERRUPTED, EXIT_RETRY, Stopped
from worldwidth.dvcio.experiments import Experiment, list_experiments
from worldwidth.dvcio.fingerprint import current, first_difference, ran_with, would_run_with
from worldwidth.pipeline.render import DVC_YAML, check_rendered
from worldwidth.pipeline.stages import stage_names
from worldwidth.settings.paths import PARAMS, scratch_folder
from worldwidth.settings.schema import Budget, Settings
from worldwidth.settings.strict_yaml import read_yaml
from worldwidth.sweep.variants import Variant, sweep
from worldwidth.sweep.worktree import prepare_tree, source_tree, write_params

_ERRORS = ("worldwidth: ", "ERROR: ")
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-auto-maintenance")


def run_widths(
    settings: Settings, archs: list[str] | None, seeds: list[int] | None, budgets: list[Budget] | None, jobs: int | None
) -> None:
    """Run every variant that is not done yet; None stands for all archs, and for the seed and budget of params.yaml.

    Raises:
        WorldwidthError: a name is unknown or a variant's settings cannot be, before anything runs; or, at the
            end, some variants failed.
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


def present_experiment(settings: Settings, variant: Variant, source: str) -> Experiment | None:
    """The experiment of a variant at this commit, if its stages ran with what they would run with here.

    Raises:
        WorldwidthError: one of that name, of another scale, is there and would be lost.
    """
    head = head_commit()
    for found in list_experiments():
        if found.name != variant.name or found.baseline != head:
            continue
        scale = found.params.get("scale")
        if scale != settings.scale:
            raise WorldwidthError(
                f"experiment '{found.name}': there is one of scale {scale}, not {settings.scale}; keep it under "
                f"another name with `dvc exp rename {found.name} NEW`, or drop it with `dvc exp remove {found.name}`"
            )
        lock = current(found.lock, settings)
        ran = ran_with(lock)
        would_run = would_run_with(ran, lock, read_yaml(PARAMS) | asdict(variant))
        same_stages = file_at(found.commit, DVC_YAML) == file_at(source, DVC_YAML)
        if same_stages and len(lock) == len(stage_names(settings)) and not first_difference(ran, would_run):
            return found
    return None


def _run_all(settings: Settings, source: str, variants: list[Variant], jobs: int | None) -> dict[str, str]:
    """Run the variants one after another, each as parallel as it can be; return why some failed, by name."""
    tree = prepare_tree(settings, source)
    failed: dict[str, str] = {}
    for number, variant in enumerate(variants, start=1):
        print(f"\n[{number} of {len(variants)}] {variant.name}", flush=True)
        started = time.monotonic()
        reason = run_variant(tree, source, variant, jobs)
        if reason:
            failed[variant.name] = reason
        else:
            print(f"{variant.name}: saved after {time.monotonic() - started:.0f} s", flush=True)
    return failed


def run_variant(tree: Path, source: str, variant: Variant, jobs: int | None) -> str:
    """Run one variant in ``tree`` and save it as an experiment of this repository; return why that failed, or ""."""
    write_params(tree, source, variant)
    run = ["-m", "worldwidth.cli", "run", *(["--jobs", str(jobs)] if jobs else [])]
    save = ["-m", "dvc", "--wait-for-lock", "exp", "save", "--force", "--name", variant.name]
    reason = _python(run, tree)
    if not reason:
        git("add", "--all", folder=tree)  # DVC saves what git knows: tables and figures too where git has none yet
        reason = _python(save, tree)
    if not reason:
        head = head_commit()
        reference = f"refs/exps/{head[:2]}/{head[2:]}/{variant.name}"
        git("-c", "protocol.file.allow=always", *_FETCH, str(tree), f"+{reference}:{reference}")
    return reason


def _python(arguments: list[str], tree: Path) -> str:
    """Run Python in ``tree``, its output passed through; return the last line of its errors if it fails, else "".

    Raises:
        KeyboardInterrupt: it, or this process, was stopped.
    """
    of_a_stage = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_")  # the rest are the user's own settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith(of_a_stage)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, ("src", os.environ.get("PYTHONPATH"))))
    last = ""
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=tree, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                sys.stderr.write(line)
                if line.startswith(_ERRORS) or not last.startswith(_ERRORS):  # DVC adds where to ask for help
                    last = line.strip() or last
        except KeyboardInterrupt:
            process.terminate()
            raise
    if process.returncode in (EXIT_RETRY, EXIT_INTERRUPTED):
        raise Stopped(process.returncode, "what is finished is kept, and a training under way is saved")
    if process.returncode == 0:
        return ""
    return re.sub(f"^({'|'.join(_ERRORS)})", "", last) or f"exit code {process.returncode}"
