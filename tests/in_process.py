"""`worldwidth` and `dvc` in the process of the tests, where a process of its own is not the point: one second less."""

import io
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest.mock import patch

from dvc.cli import main as dvc_main

from repository import Repository
from worldwidth import cli

SOMEONE = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def worldwidth(made: Repository, *arguments: str) -> CompletedProcess[str]:
    """Run a command in the folder of ``made``; its code comes from this project, as that of the real command does."""
    return _run(made, cli.main, "worldwidth", *arguments)


def ok(made: Repository, *arguments: str) -> str:
    """What such a command prints; it must succeed."""
    return _output(worldwidth(made, *arguments))


def dvc(made: Repository, *arguments: str) -> str:
    """What a command of DVC prints; it must succeed."""
    return _output(_run(made, dvc_main, "dvc", *arguments))


def _run(made: Repository, main: Callable[[], int | None], *words: str) -> CompletedProcess[str]:
    out, errors = io.StringIO(), io.StringIO()
    with (
        chdir(made.folder),
        redirect_stdout(out),
        redirect_stderr(errors),
        patch.object(sys, "argv", list(words)),
        patch.dict(os.environ, SOMEONE),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # DVC's own dependencies warn
        try:
            code = int(main() or 0)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return CompletedProcess(words, code, out.getvalue(), errors.getvalue())


def _output(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
