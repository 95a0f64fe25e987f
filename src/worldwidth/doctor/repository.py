"""The doctor on git, params.yaml, dvc.yaml and dvc.lock."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_text
from worldwidth.core.git import git, git_lines
from worldwidth.doctor.finding import Finding, listed, quoted
from worldwidth.settings.paths import EVALUATION_TABLE, MATRICES, PARAMS, SUMMARY, TRAINING_TABLE

DVC_YAML, LOCK = Path("dvc.yaml"), Path("dvc.lock")
_UNDER_WAY = {  # in git's folder -> what is going on
    "MERGE_HEAD": "merge", "rebase-merge": "rebase", "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert", "BISECT_LOG": "bisect",
}  # fmt: skip
_SOURCES = [f"{folder}/*.{kind}" for folder in ("src", "stages", "templates") for kind in ("py", "j2", "json", "css")]
_FILES = (PARAMS, DVC_YAML, LOCK, SUMMARY, MATRICES, EVALUATION_TABLE, TRAINING_TABLE)
_COMMIT = "git add --all && git commit --message 'The project'"


def check_git() -> Iterator[Finding]:
    """Is this a repository with a commit, and is nothing half done in it?"""
    try:
        folder, head = Path(git("rev-parse", "--absolute-git-dir")), _status()[0].removeprefix("## ")
    except WorldwidthError as error:
        if "safe.directory" in str(error):
            command = f"git config --global --add safe.directory {quoted(Path.cwd())}"
            text = "git refuses to work here: the folder belongs to another user; if you trust what they put there:"
            yield Finding("git", "problem", text, command)
        else:
            yield Finding("git", "problem", f"no repository that can be read: {error}", f"git init && {_COMMIT}")
        return
    if head.startswith("No commits yet"):
        yield Finding("git", "problem", "no commit yet: DVC keeps experiments on commits", _COMMIT)
    else:
        yield Finding("git", "ok", f"{head}, commit {git('rev-parse', '--short', 'HEAD')}")
    for name, work in _UNDER_WAY.items():
        if (folder / name).exists():
            command = f"git {work} {'reset' if work == 'bisect' else '--abort'}  # or bring it to its end"
            yield Finding(work, "warning", f"a {work} is under way", command)


def check_uncommitted() -> Iterator[Finding]:
    """Is what a result depends on committed?"""
    changed = [line[3:] for line in _status()[1:]]
    if changed:
        yield Finding("uncommitted", "warning", listed(changed), "git add --all && git commit")


def check_ignored() -> Iterator[Finding]:
    """Does git keep all that a clone needs?"""
    words = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", *_SOURCES, *map(str, _FILES))
    if ignored := git_lines(*words):
        command = f"git add --force {quoted(*ignored)}"
        yield Finding("ignored by git", "problem", f"a clone would lack {listed(ignored)}", command)


def _status() -> list[str]:
    """The branch, and a line a changed file. Git is kept from refreshing its index: that would be a change."""
    words = ("status", "--porcelain", "-z", "--branch", "--no-renames", "--untracked-files=normal")
    return git_lines("--no-optional-locks", *words)


def check_params() -> Iterator[Finding]:
    """Does params.yaml load?"""
    from worldwidth.settings.load import load

    committed = f"git checkout HEAD -- {PARAMS}"
    edit = f"${{EDITOR:-vi}} {PARAMS}  # or take the committed one: {committed}"
    try:
        settings = load()
    except WorldwidthError as error:
        text = "holds conflict markers: choose between the two sides" if _conflicted(PARAMS) else _reason(error)
        yield Finding("params.yaml", "problem", text, edit if PARAMS.is_file() else committed)
    else:
        text = f"arch {settings.arch}, scale {settings.scale}, seed {settings.seed}, {len(settings.models)} models"
        yield Finding("params.yaml", "ok", text)


def check_pipeline() -> Iterator[Finding]:
    """Is dvc.yaml what params.yaml, the template and the imports say?"""
    from worldwidth.pipeline.render import stale_files
    from worldwidth.settings.load import load

    stale = stale_files(load())
    if stale:
        text = "holds conflict markers" if _conflicted(DVC_YAML) else f"not up to date with {PARAMS}: {listed(stale)}"
        yield Finding("dvc.yaml", "problem", text, "make render")


def check_lock_file() -> Iterator[Finding]:
    """Can dvc.lock be read, and does it hold this code, these params and the committed results?"""
    from worldwidth.dvcio.fingerprint import check_lock
    from worldwidth.settings.load import load

    try:
        stages = locked_stages()
    except WorldwidthError as error:
        yield Finding("dvc.lock", "problem", _reason(error), _new_lock(), (LOCK,))
        return
    if not stages:
        yield Finding("dvc.lock", "warning", "not there: nothing has run yet", "make repro")
        return
    settings = load()
    try:
        check_lock(settings)
    except WorldwidthError as error:
        text, _, remedy = _reason(error).partition("; run ")
        yield Finding("dvc.lock", "warning", text, "make render" if "make render" in remedy else "make repro")


def locked_stages() -> dict[str, Any]:
    """The stages of dvc.lock; none where it is not there.

    Raises:
        WorldwidthError: it cannot be read.
    """
    from worldwidth.settings.strict_yaml import read_yaml

    if not os.path.lexists(LOCK):
        return {}
    if _conflicted(LOCK):
        raise WorldwidthError(f"{LOCK}: holds conflict markers")
    return _stages_of(read_yaml(LOCK))


def _stages_of(lock: Any) -> dict[str, Any]:
    stages = lock.get("stages") if isinstance(lock, dict) else None
    if isinstance(stages, dict) and all(isinstance(stage, dict) and "cmd" in stage for stage in stages.values()):
        return stages
    raise WorldwidthError(f"{LOCK}: not a lock file that DVC wrote")


def _new_lock() -> str:
    """How a readable dvc.lock is had: from the last commit, or from a run, which finds results in the run cache."""
    from worldwidth.settings.strict_yaml import parse_yaml

    try:
        _stages_of(parse_yaml(git("show", f"HEAD:{LOCK}"), ""))
    except (WorldwidthError, OSError):
        return f"rm -rf {LOCK} && make repro"
    return f"rm -rf {LOCK} && git checkout HEAD -- {LOCK} && make repro"


def _conflicted(path: Path) -> bool:
    from worldwidth.dvcio.repair import has_conflict_markers

    try:
        return has_conflict_markers(read_text(path))
    except (OSError, UnicodeDecodeError):
        return False


def _reason(error: WorldwidthError) -> str:
    return re.sub(r"^[a-z.]+: ", "", str(error))
