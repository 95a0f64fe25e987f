"""git, as a function."""

import subprocess
from pathlib import Path

from worldwidth.core.errors import WorldwidthError


def git(*arguments: str, folder: Path = Path()) -> str:
    """Run git; return what it prints, without the last line end.

    Raises:
        WorldwidthError: git failed.
    """
    ran = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise WorldwidthError(f"git {arguments[0]}: {(ran.stderr.strip() or 'failed').splitlines()[-1]}")
    return ran.stdout.rstrip("\n")
