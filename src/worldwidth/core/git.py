"""git, as a function."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from worldwidth.core.errors import WorldwidthError

_LONGEST = 300  # characters of what git says: it may name every file


def leave_other_repositories() -> None:
    """Drop the variables that tie git to one repository: in a hook, an alias or `git rebase -x` that is another's.

    Whatever is started from here inherits them otherwise: git and DVC would write there whatever folder they are in.
    """
    bare = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    if len(bare) < len(os.environ):
        command = ["git", "rev-parse", "--local-env-vars"]
        try:
            asked = subprocess.run(command, env=bare, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return  # what needs git says that it is missing
        for name in asked.stdout.split():
            os.environ.pop(name, None)


def git(*arguments: str, folder: Path = Path(), **environment: str) -> str:
    """Run git, with ``environment`` beside its own; return what it prints, without the last line end.

    Raises:
        WorldwidthError: git failed.
    """
    ran = _run(*arguments, folder=folder, environment=environment)
    if ran.returncode:
        words = iter(arguments)
        named = next(word for word in words if not word.startswith("-") or (word == "-c" and not next(words)))
        said = [line for line in _text(ran.stderr).splitlines() if not line.startswith(("hint:", "warning:"))]
        text = " ".join(" ".join(said).split()).removeprefix("fatal: ") or f"ended with {ran.returncode}"
        raise WorldwidthError(f"git {named}: {text if len(text) < _LONGEST else f'{text[:_LONGEST]} ...'}")
    return _text(ran.stdout).removesuffix("\n")


def git_lines(*arguments: str, folder: Path = Path()) -> list[str]:
    """What git lists, with NUL between the entries: names of files and refs may hold all that other lines end with.

    Raises:
        WorldwidthError: git failed.
    """
    return [entry for entry in git(*arguments, folder=folder).split("\0") if entry]


def head_commit() -> str:
    """The commit that is checked out.

    Raises:
        WorldwidthError: there is none yet, or no repository.
    """
    asked = _run("rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    if asked.returncode:
        git("rev-parse", "--git-dir")
        raise WorldwidthError("git: no commit yet, and this works on one; run `git add --all && git commit`")
    return _text(asked.stdout).strip()


def config_values(pattern: str, folder: Path = Path()) -> dict[str, str]:
    """The settings of git, the user's and the repository's, whose names match a regular expression."""
    ran = _run("config", "--null", "--get-regexp", pattern, folder=folder)
    return dict(entry.split("\n", 1) for entry in _text(ran.stdout).split("\0") if "\n" in entry)


def file_at(revision: str, path: Path, folder: Path = Path()) -> bytes | None:
    """A file as it is in a commit or tree; None where it is not there."""
    ran = _run("cat-file", "blob", f"{revision}:{path.as_posix()}", folder=folder)
    return ran.stdout if ran.returncode == 0 else None


def _run(
    *arguments: str, folder: Path = Path(), environment: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.CompletedProcess[bytes]":
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, check=False)


def _text(output: bytes) -> str:
    return output.decode("utf-8", "backslashreplace")  # names of files need be no UTF-8
