"""A folder as a git repository whose commits are the model through its training: a branch a checkpoint, then main.

A Hub's repository is one of git, and `revision=` names a branch of it. The weights lie in git as they are: they have a
few megabytes and a dozen checkpoints, and to clone them takes nothing but git.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from worldwidth.core.files import replacing_folder
from worldwidth.core.git import git

MAIN = "main"
_NOBODYS = {  # no user's settings: neither hooks nor signatures, and the same commits on every machine
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TEMPLATE_DIR": "",
    **{f"GIT_{who}_NAME": "worldwidth" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "worldwidth@localhost" for who in ("AUTHOR", "COMMITTER")},
}

Revision = tuple[str, str, Callable[[Path], None]]
"""The name of a branch, what its commit says, and what writes its files into a folder."""


def branch_of(step: int) -> str:
    """The branch of a checkpoint: ``step-000046``."""
    return f"step-{step:06d}"


def save_repository(folder: Path, revisions: Iterable[Revision], seconds: int) -> None:
    """Make ``folder``, which appears once it is whole, with a commit a revision, each on the one before it.

    Args:
        revisions: the last is ``main``, which is checked out.
        seconds: the time of the commits, since 1970: the same files at the same time give the same commits.
    """
    with replacing_folder(folder) as made:
        dates = {f"GIT_{who}_DATE": f"{seconds} +0000" for who in ("AUTHOR", "COMMITTER")}
        here = partial(git, folder=made, **_NOBODYS, **dates)
        here("init", "--quiet")
        here("symbolic-ref", "HEAD", f"refs/heads/{MAIN}")
        for branch, message, write in revisions:
            write(made)
            here("add", "--all", "--force")
            here("commit", "--quiet", "--allow-empty", "--message", message)
            if branch != MAIN:
                here("branch", branch)
