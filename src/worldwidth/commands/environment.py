"""Make the virtual environment: `python3 -I src/worldwidth/commands/environment.py .venv`, which is `make env`.

Any Python 3 can read this file, and it imports nothing of this project: it is what says that something is missing.
"""

import importlib.util
import os
import shutil
import subprocess
import sys

PYTHON = (3, 11)
BYTES = 3e9  # the environment, and what pip unpacks on the way
_OTHER = "name another Python, as in `make PYTHON=python3.12 env`"


def make_environment(folder: str) -> None:
    """Make ``folder`` and install the project with its tools into it; what is there already is kept.

    Raises:
        SystemExit: it cannot be done; one line says why.
    """
    problem = problem_here(folder)
    if problem:
        _fail(problem)
    version = ".".join(map(str, sys.version_info[:3]))
    print(
        f"making the environment in {folder} with Python {version}: 2.5 GB or more, from the index that pip is set to;"
    )
    print("one to two minutes and the time of the download. Nothing is downloaded after that.", flush=True)
    _run("it could not be made", sys.executable, "-m", "venv", folder)
    # wherever a user's pip settings or PYTHONPATH would put packages, or find them; a user's index is kept
    into = ("--no-user", "--target=", "--root=/", "--prefix=" + os.path.abspath(folder))
    install = ("pip", "install", *into, "--quiet", "--constraint", "constraints.txt", "--editable", ".[dev]")
    reason = "pip could not install the packages: it needs a package index and 3 GB of disk"
    _run(reason, os.path.join(folder, "bin", "python"), "-I", "-m", *install)


def problem_here(folder: str) -> str:
    """Why the environment cannot be made with this Python, and what to do; empty if it can."""
    if sys.version_info < PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        return f"Python {found} is too old, 3.11 or newer is needed; {_OTHER}"
    if not all(map(importlib.util.find_spec, ("venv", "ensurepip"))):
        package = "python{}.{}-venv".format(*sys.version_info)
        return f"this Python lacks the modules venv and ensurepip; `sudo apt-get install {package}`, or {_OTHER}"
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(folder))).free
    if free < BYTES and not os.path.isdir(folder):
        return f"{free / 1e9:.1f} GB are free here, and the environment needs {BYTES / 1e9:.1f} GB; free some"
    return ""


def _run(reason: str, *command: str) -> None:
    if subprocess.run(command, check=False).returncode:
        _fail(f"{reason}; the reason stands above. Then run `make env` again")


def _fail(message: str, code: int = 2) -> None:
    print(f"worldwidth: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    try:
        make_environment(sys.argv[1])
    except KeyboardInterrupt:
        _fail("stopped; run the same command again", 130)
