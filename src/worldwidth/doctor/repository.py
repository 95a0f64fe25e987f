"""The doctor on git, params.yaml, dvc.yaml and dvc.lock."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.doctor.finding import AGAIN, Finding, listed, one_line, quoted
from worldwidth.settings.paths import EVALUATION_TABLE, MATRICES, SUMMARY, TRAINING_TABLE

_PARAMS, _DVC_YAML, _LOCK = Path("params.yaml"), Path("dvc.yaml"), Path("dvc.lock")
_UNDER_WAY = {  # in git's folder -> what is going on, and how it is given up
    "MERGE_HEAD": ("merge", "git merge --abort"),
    "rebase-merge": ("rebase", "git rebase --abort"),
    "rebase-apply": ("rebase", "git rebase --abort"),
    "CHERRY_PICK_HEAD": ("cherry-pick", "git cherry-pick --abort"),
    "REVERT_HEAD": ("revert", "git revert --abort"),
    "BISECT_LOG": ("bisect", "git bisect reset"),
}
_SOURCES = ("src", "stages", "templates")
TABLES = (SUMMARY, MATRICES, EVALUATION_TABLE, TRAINING_TABLE)
"""What the stages write that is in git, figures aside."""


def check_git() -> Iterator[Finding]:
    """Is this a repository, is nothing half done in it, and is what a result hangs on committed?"""
    status, said = _git("rev-parse", "--absolute-git-dir")
    if status:
        if "dubious ownership" in said:
            found = "git refuses to work here: the folder belongs to another user"
            yield Finding("git", "problem", found, f"git config --global --add safe.directory {quoted(Path.cwd())}")
        else:
            command = "git init && git add --all && git commit --message 'The project'"
            yield Finding("git", "problem", "this is no git repository", command)
        return
    yield _branch()
    for name, (work, give_up) in _UNDER_WAY.items():
        if (Path(said) / name).exists():
            command = f"{give_up}  # or bring it to its end"
            yield Finding(work, "warning", f"a {work} is under way", command)
    yield _uncommitted()
    yield _ignored()


def _branch() -> Finding:
    _, branch = _git("symbolic-ref", "--quiet", "--short", "HEAD")
    status, commit = _git("rev-parse", "--short", "HEAD")
    if status:
        command = "git add --all && git commit --message 'The project'"
        return Finding("git", "problem", "no commit yet: DVC keeps experiments on commits", command)
    return Finding("git", "ok", f"branch {branch}, commit {commit}" if branch else f"detached at commit {commit}")


def _uncommitted() -> Finding:
    _, said = _git("status", "--porcelain", "--no-renames")
    changed = [line[3:] for line in said.splitlines()]
    if not changed:
        return Finding("uncommitted", "ok", "nothing")
    return Finding("uncommitted", "warning", listed(changed), "git add --all && git commit")


def _ignored() -> Finding:
    """Files that a clone needs and git was told to leave out."""
    code = [path for folder in _SOURCES for path in Path(folder).rglob("*") if path.is_file()]
    needed = [path for path in code if path.suffix in (".py", ".j2", ".json", ".css")]
    needed += [path for path in (_PARAMS, _DVC_YAML, _LOCK, *TABLES) if path.exists()]
    _, said = _git("check-ignore", "--", *map(str, needed))
    ignored = said.splitlines()
    if not ignored:
        return Finding("ignored by git", "ok", "nothing that a clone needs")
    return Finding(
        "ignored by git", "problem", f"a clone would lack {listed(ignored)}", f"git add --force {quoted(*ignored)}"
    )


def check_params() -> Iterator[Finding]:
    """Does params.yaml load?"""
    from worldwidth.settings.load import load

    edit = f"${{EDITOR:-vi}} {_PARAMS}  # or take the committed one: git checkout HEAD -- {_PARAMS}"
    if _conflicted(_PARAMS):
        found = "holds conflict markers: choose between the two sides"
        yield Finding("params.yaml", "problem", found, edit)
        return
    try:
        settings = load()
    except WorldwidthError as error:
        gone = not _PARAMS.is_file()
        command = f"git checkout HEAD -- {_PARAMS}" if gone else edit
        yield Finding("params.yaml", "problem", str(error).removeprefix(f"{_PARAMS}: "), command)
    else:
        found = f"arch {settings.arch}, scale {settings.scale}, seed {settings.seed}, {len(settings.models)} models"
        yield Finding("params.yaml", "ok", found)


def check_pipeline() -> Iterator[Finding]:
    """Is dvc.yaml what params.yaml, the template and the imports say?"""
    from worldwidth.pipeline.render import stale_files
    from worldwidth.settings.load import load

    try:
        stale = stale_files(load())
    except WorldwidthError:
        yield Finding("dvc.yaml", "warning", "not compared, for params.yaml cannot be read; mend that first", AGAIN)
        return
    if not stale:
        yield Finding("dvc.yaml", "ok", "is the rendering of params.yaml, the template and the imports")
        return
    names = " and ".join(map(str, stale))
    found = "holds conflict markers" if _conflicted(_DVC_YAML) else f"not up to date with params.yaml: {names}"
    yield Finding("dvc.yaml", "problem", found, "make render")


def check_lock_file() -> Iterator[Finding]:
    """Can dvc.lock be read, and does it hold this code, these params and the committed results?"""
    problem = lock_problem()
    if problem:
        yield Finding("dvc.lock", "problem", problem, _lock_from())
        return
    from worldwidth.dvcio.fingerprint import check_lock
    from worldwidth.settings.load import load

    if not _LOCK.exists():
        yield Finding("dvc.lock", "warning", "not there: nothing has run yet", "make repro")
        return
    try:
        settings = load()
    except WorldwidthError:
        yield Finding("dvc.lock", "warning", "not compared, for params.yaml cannot be read; mend that first", AGAIN)
        return
    try:
        check_lock(settings)
    except WorldwidthError as error:
        found = re.sub(r"^dvc\.lock: |; run `dvc repro`.*$", "", str(error))
        yield Finding("dvc.lock", "warning", f"{found}: some stages are to be run again", "make repro")
    else:
        yield Finding("dvc.lock", "ok", "holds this code, these params and the committed results")


def lock_problem() -> str:
    """Why dvc.lock cannot be read; empty if it can, or is not there."""
    from worldwidth.settings.strict_yaml import read_yaml

    if not _LOCK.exists() and not _LOCK.is_symlink():
        return ""
    if _conflicted(_LOCK):
        return "holds conflict markers"
    try:
        lock = read_yaml(_LOCK)
    except WorldwidthError as error:
        return str(error).removeprefix(f"{_LOCK}: ")
    stages = lock.get("stages") if isinstance(lock, dict) else None
    sound = isinstance(stages, dict) and all(isinstance(stage, dict) and "cmd" in stage for stage in stages.values())
    return "" if sound else "not a lock file that DVC wrote"


def _lock_from() -> str:
    """Where a readable dvc.lock comes from: the last commit, or a run, which finds its results in the run cache."""
    from worldwidth.settings.strict_yaml import parse_yaml

    status, said = _git("show", f"HEAD:{_LOCK}")
    try:
        committed = not status and isinstance(parse_yaml(said, "")["stages"], dict)
    except (WorldwidthError, KeyError, TypeError):
        committed = False
    remove = f"rm -rf {_LOCK} && "
    return f"{remove}git checkout HEAD -- {_LOCK} && make repro" if committed else f"{remove}make repro"


def _conflicted(path: Path) -> bool:
    from worldwidth.dvcio.repair import has_conflict_markers

    try:
        return has_conflict_markers(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return False


def _git(*arguments: str) -> tuple[int, str]:
    """Exit code and output of git, which is kept from refreshing its index: that would be a change."""
    try:
        ran = subprocess.run(
            ["git", "--no-optional-locks", *arguments], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return 127, one_line(error)
    return ran.returncode, (ran.stderr if ran.returncode else ran.stdout).rstrip("\n")
