"""What the tests of faults share: a finished small study, its stage scripts run by themselves, and code injected."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from repository import Repository
from small_study import finished_study as finished_study


def run_stage(
    repository: Repository, *words: str, file_size: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python stages/...` as dvc.yaml has it; ``file_size`` is the most bytes that a file may get."""

    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    return subprocess.run(
        [sys.executable, f"stages/{words[0]}.py", *words[1:]],
        cwd=repository.folder,
        env=os.environ | {"PYTHONPATH": "src", "PYTHONWARNINGS": "error", **environment},
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )


def inject(repository: Repository, code: str) -> None:
    """Let every Python process of the stages run ``code`` before anything else."""
    (repository.folder / "src" / "sitecustomize.py").write_text(code)


def heal(repository: Repository) -> None:
    """Take back what :func:`inject` did."""
    (repository.folder / "src" / "sitecustomize.py").unlink()


def change(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Other bytes in a file, which may be write-protected and linked to DVC's cache."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(edit(content))


def flip(path: Path, at: int | None = None) -> None:
    """One wrong bit; in the middle if not told where."""
    whole = path.read_bytes()
    place = len(whole) // 2 if at is None else at
    change(path, lambda content: content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
