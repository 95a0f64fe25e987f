"""git as users have it: variables of a hook, clones of all kinds, settings of their own: `pytest tests/test_git.py`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import file_at, git, git_lines, head_commit
from worldwidth.settings.paths import PARAMS
from worldwidth.sweep.worktree import clone, source_tree, write_variant

FILES = {"params.yaml": "arch: wide\n\n\n", "list.csv": "1;Köln\r\n", "src/a.py": "a\n", "src/b.py": "b\n"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of two commits with the .gitattributes of this project, as the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git("init", "--quiet")
    (folder / ".gitattributes").write_text("* -text\n")
    for message in ("before", "now"):
        for name, text in FILES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(f"{text}{message}\n".encode())
        git("add", "--all")
        git("commit", "--quiet", "--message", message)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in git_lines("ls-files", "-z", folder=folder)}


# --- variables


def test_what_ties_git_to_another_repository_is_dropped_when_a_command_starts() -> None:
    local = git("rev-parse", "--local-env-vars").split()
    assert {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"} <= set(local)
    code = "import worldwidth.core.command, os; print(*(name for name in os.environ if name.startswith('GIT_')))"
    hostile = {**dict.fromkeys(local, "/nowhere"), "GIT_SSH": "ssh"}
    found = subprocess.check_output([sys.executable, "-c", code], env=os.environ | hostile, text=True)
    assert "GIT_SSH" in found.split()
    assert not set(local) & set(found.split())


# --- the tree as it is


def touch(folder: Path) -> None:
    for path in folder.glob("src/*"):
        os.utime(path, (1, 1))


def stage_half(folder: Path) -> None:
    (folder / "src" / "a.py").write_text("staged\n")
    git("add", "src/a.py")
    (folder / "src" / "a.py").write_text("edited since\n")


def intend(folder: Path) -> None:
    (folder / "src" / "new.py").write_text("new\n")
    git("add", "--intent-to-add", "src/new.py")


def leave_unmerged(folder: Path) -> None:
    git("branch", "other")
    for text in ("ours", "theirs"):
        (folder / "src" / "a.py").write_text(text)
        git("commit", "--quiet", "--all", "--message", text)
        git("checkout", "--quiet", "-" if text == "theirs" else "other")
    with pytest.raises(WorldwidthError, match="git merge: "):
        git("merge", "--quiet", "other")


def split(folder: Path) -> None:
    git("update-index", "--split-index")
    (folder / "src" / "b.py").write_text("edited\n")


@pytest.mark.parametrize("change", [touch, stage_half, intend, leave_unmerged, split])
def test_a_sweep_takes_tracked_files_as_they_are_and_leaves_the_index(
    project: Path, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(project)
    (project / "untracked").touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")  # nobody is known here
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_NAME")
        monkeypatch.delenv(f"GIT_{who}_EMAIL")
    index = (project / ".git" / "index").read_bytes()
    tree = source_tree()
    assert (project / ".git" / "index").read_bytes() == index
    names = git_lines("ls-tree", "-r", "-z", "--name-only", tree)
    assert {name: file_at(tree, Path(name)) for name in names} == contents(project)


def test_without_a_commit_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorldwidthError, match="git rev-parse: not a git repository"):
        head_commit()
    git("init", "--quiet")
    with pytest.raises(WorldwidthError, match=r"no commit yet, .*; run `git add --all && git commit`"):
        source_tree()


# --- clones


def shallow(source: Path, other: Path) -> None:
    git("clone", "--quiet", "--depth", "1", f"file://{source}", str(other))


def partial_and_sparse(source: Path, other: Path) -> None:
    git("config", "uploadpack.allowFilter", "true", folder=source)
    git("clone", "--quiet", "--sparse", "--filter=blob:none", f"file://{source}", str(other))
    assert not (other / "src").exists()


def worktree(source: Path, other: Path) -> None:
    git("worktree", "add", "--quiet", "-b", "other", str(other), folder=source)


@pytest.mark.parametrize("make", [shallow, partial_and_sparse, worktree])
def test_every_kind_of_clone_is_cloned_again(project: Path, tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    other, tree = tmp_path / "other", tmp_path / "tree"
    make(project, other)
    clone(other, git("rev-parse", "HEAD", folder=other), tree)
    assert contents(tree) == contents(project)
    assert git("status", "--porcelain", folder=tree) == ""
    (tree / "src" / "c.py").touch()
    git("add", "--all", folder=tree)
    git("commit", "--quiet", "--message", "an experiment", folder=tree)
    git("fetch", "--quiet", str(tree), "+HEAD:refs/exps/one", folder=other)
    assert git("rev-parse", "refs/exps/one", folder=other) == git("rev-parse", "HEAD", folder=tree)


HOSTILE = """
[core]
  autocrlf = true
  safecrlf = true
  hooksPath = {hooks}
  excludesFile = {hooks}/ignored
[init]
  templateDir = {hooks}
[commit]
  gpgSign = true
[protocol "file"]
  allow = never
[color]
  ui = always
"""


def test_a_clone_does_not_obey_what_a_user_has_set(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "ignored").write_text("*.csv\n")
    for name in ("post-checkout", "pre-commit"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(HOSTILE.format(hooks=hooks))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    tree = tmp_path / "tree"
    clone(project, head_commit(), tree)
    assert contents(tree) == contents(project)
    (tree / "new.csv").touch()
    git("add", "--all", folder=tree)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_NAME")
        monkeypatch.delenv(f"GIT_{who}_EMAIL")
    git("commit", "--quiet", "--message", "an experiment", folder=tree)
    assert "new.csv" in contents(tree)
    assert git("log", "-1", "--format=%an <%ae>", folder=tree) == "worldwidth <worldwidth>"


# --- messages


def test_a_failing_command_is_named_with_what_it_said(project: Path) -> None:
    with pytest.raises(WorldwidthError, match=r"^git rev-parse: Needed a single revision$"):
        git("-c", "a.b=c", "--no-pager", "rev-parse", "--verify", "nothing")
    with pytest.raises(WorldwidthError, match=r"^git diff: ended with 1$"):
        git("diff", "--quiet", "HEAD^")
    git("rm", "--quiet", "--cached", str(PARAMS))
    git("commit", "--quiet", "--message", "without")
    with pytest.raises(WorldwidthError, match=r"params.yaml: not in git; run `git add"):
        write_variant(project, "HEAD", None)  # type: ignore[arg-type]
