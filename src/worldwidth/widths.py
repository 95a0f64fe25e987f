"""`worldwidth widths`: widths x seeds x budgets, each a DVC experiment, in a work tree of its own.

The runs take place in a clone below .dvc/tmp that shares git objects and DVC's cache with this one, so that this
tree stays as it is. One clone for all of them: what two runs share (cities, corpora, equal base models) is made
once. Uncommitted changes to tracked files are part of every run, as with `dvc exp run`.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, get_args

from worldwidth.errors import WorldwidthError, nearest
from worldwidth.experiments import Experiment, git, list_experiments
from worldwidth.files import write_text
from worldwidth.lockfile import md5
from worldwidth.locks import only_one, wait_until_free
from worldwidth.matrix import Budget, Matrix
from worldwidth.matrix_rules import check
from worldwidth.parallel import run_lock
from worldwidth.pipeline import DVC_YAML, check_rendered
from worldwidth.stage import scratch_folder
from worldwidth.stopping import AGAIN, INTERRUPTED, Stopped
from worldwidth.trees import Variant, share_cache, write_params


def run_widths(
    matrix: Matrix, archs: list[str] | None, seeds: list[int] | None, budgets: list[Budget] | None, jobs: int | None
) -> None:
    """Run every variant that is not there yet; None stands for all archs, and for the seed and budget of params.yaml.

    Raises:
        WorldwidthError: a name is unknown or a variant's settings cannot be, before anything runs; or, at the
            end, some variants failed.
    """
    check_rendered(matrix)
    variants = sweep(matrix, archs or list(matrix.selected.archs), seeds or [matrix.seed], budgets or [matrix.budget])
    with only_one(scratch_folder() / "widths.lock", "another `worldwidth widths` is going on here: wait for it"):
        source = source_commit()
        present = [variant for variant in variants if present_experiment(matrix, variant, source)]
        for variant in present:
            print(f"{variant.name}: there already")
        to_run = [variant for variant in variants if variant not in present]
        failed = _run_all(matrix, source, to_run, jobs) if to_run else {}
    there = f"{len(variants) - len(failed)} of {len(variants)} experiments"
    print(f"\n{there} are there: `worldwidth compare` compares them")
    if failed:
        listed = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
        raise WorldwidthError(f"{len(failed)} failed: {listed}. The same command runs only what is not there yet")


def sweep(matrix: Matrix, archs: list[str], seeds: list[int], budgets: list[Budget]) -> list[Variant]:
    """The variants, seed by seed, so that a sweep cut short leaves whole comparisons.

    Raises:
        WorldwidthError: an arch or a budget is unknown, or the settings of a variant cannot be.
    """
    kinds = (("arch", archs, list(matrix.selected.archs)), ("budget", budgets, list(get_args(Budget))))
    for kind, chosen, allowed in kinds:
        for name in chosen:
            if name not in allowed:
                raise WorldwidthError(f"{kind} '{name}': allowed: {', '.join(allowed)}{nearest(name, allowed)}")
    variants = list(dict.fromkeys(Variant(arch, budget, seed) for seed, budget, arch in product(seeds, budgets, archs)))
    for variant in variants:
        problem = check(variant.of(matrix))
        if problem:
            raise WorldwidthError(f"{variant.name}: {problem}")
    return variants


def source_commit() -> str:
    """The commit that holds this tree as it is: HEAD, or one with the uncommitted changes of tracked files."""
    someone = ("-c", "user.name=worldwidth", "-c", "user.email=worldwidth")  # git wants a name, on a new machine too
    return git(*someone, "stash", "create") or git("rev-parse", "HEAD")


def present_experiment(matrix: Matrix, variant: Variant, source: str) -> Experiment | None:
    """The experiment of a variant at this commit, if it was made with the same code and the same params.

    Raises:
        WorldwidthError: one of that name, of another scale, is there and would be lost.
    """
    head = git("rev-parse", "HEAD")
    for found in list_experiments():
        if found.name != variant.name or found.baseline != head:
            continue
        scale = found.params.get("scale")
        if scale != matrix.scale:
            raise WorldwidthError(
                f"experiment '{found.name}': there is one of scale {scale}, not {matrix.scale}; keep it under another "
                f"name with `dvc exp rename {found.name} NEW`, or drop it with `dvc exp remove {found.name}`"
            )
        same_stages = not git("diff", "--name-only", found.commit, source, "--", DVC_YAML.as_posix())
        same_code = all(md5(Path(path)) == digest for path, digest in found.code().items())
        if same_stages and same_code and _tracked(found.matrix) == _tracked(variant.of(matrix)):
            return found
    return None


def _tracked(matrix: Matrix) -> dict[str, Any]:
    """What of the matrix can change a result."""
    values = asdict(matrix)
    del values["cluster"]
    for scale in values["scales"].values():
        del scale["execution"]
    return values


def _run_all(matrix: Matrix, source: str, variants: list[Variant], jobs: int | None) -> dict[str, str]:
    """Run the variants one after another, each as parallel as it can be; return why some failed, by name."""
    tree = prepare_tree(matrix, source)
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


def prepare_tree(matrix: Matrix, source: str) -> Path:
    """The sweep's own work tree, holding the files of ``source``; what an interrupted sweep left there is kept."""
    tree = scratch_folder().resolve() / "widths"
    if not (tree / ".git").is_dir():
        shutil.rmtree(tree, ignore_errors=True)
        tree.parent.mkdir(parents=True, exist_ok=True)
        git("clone", "--quiet", "--shared", "--no-checkout", str(Path.cwd()), str(tree))
    wait_until_free(run_lock(tree), "what is left of an interrupted sweep is still at work: waiting for it")
    head, state = git("rev-parse", "HEAD"), tree / ".git" / "worldwidth-source"
    wanted = f"{head} {git('rev-parse', source + '^{tree}')}"
    if not state.is_file() or state.read_text(encoding="utf-8") != wanted:
        state.unlink(missing_ok=True)
        git("checkout", "--quiet", "--force", "--detach", head, folder=tree)
        git("read-tree", "--reset", "-u", source, folder=tree)
        share_cache(tree)
        write_text(state, wanted)
    for scale in matrix.scales.values():  # a user's own list of cities need not be in git
        path = Path(scale.world.source)
        if path.is_file() and not (tree / path).exists():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, tree / path)
    return tree


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
        head = git("rev-parse", "HEAD")
        reference = f"refs/exps/{head[:2]}/{head[2:]}/{variant.name}"
        git("fetch", "--quiet", str(tree), f"+{reference}:{reference}")
    return reason


def _python(arguments: list[str], tree: Path) -> str:
    """Run Python in ``tree``, its output passed through; return the last line of its errors if it fails, else "".

    Raises:
        KeyboardInterrupt: it, or this process, was stopped.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, ("src", os.environ.get("PYTHONPATH"))))
    last = ""
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=tree, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                sys.stderr.write(line)
                last = line.strip() or last
        except KeyboardInterrupt:
            process.terminate()
            raise
    if process.returncode in (AGAIN, INTERRUPTED):
        raise Stopped(process.returncode, "what is finished is kept, and a training under way is saved")
    return (last.removeprefix("worldwidth: ") or f"exit code {process.returncode}") if process.returncode else ""
