"""`worldwidth ...` in the process of the tests, where a process of its own is not what is tested: a second less."""

import io
import sys
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest.mock import patch

from repository import Repository
from worldwidth import cli


def worldwidth(made: Repository, *arguments: str) -> CompletedProcess[str]:
    """Run a command in the folder of ``made``; its code comes from this project, as that of the real command does."""
    out, errors = io.StringIO(), io.StringIO()
    with (
        chdir(made.folder),
        redirect_stdout(out),
        redirect_stderr(errors),
        patch.object(sys, "argv", ["worldwidth", *arguments]),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # DVC's own dependencies warn
        try:
            cli.main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def ok(made: Repository, *arguments: str) -> str:
    """What a command prints; it must succeed."""
    done = worldwidth(made, *arguments)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
