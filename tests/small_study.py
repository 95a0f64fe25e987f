"""A study of 18 stages at smoke scale, in a repository of its own, and copies of it."""

import shutil
from pathlib import Path

from repository import Repository

STAGES = 18


def small_study(folder: Path) -> Repository:
    """Three tasks and four fine-tunes, two of them in a job."""
    made = Repository(folder)
    made.edit(
        "params.yaml",
        "tasks: [distance, trianglearea, angle, compass, inside, perimeter, crossing]",
        "tasks: [distance, compass, inside]",
    )
    lines = made.read("params.yaml").splitlines(keepends=True)
    kept = ("  ftwb1-1:", "  ftwb1-4:", "  ftwb1-5:", "  ftwb2-15:")
    text = "".join(line for line in lines if not line.startswith("  ftwb") or line.startswith(kept))
    (made.folder / "params.yaml").write_text(text)
    made.edit("params.yaml", "models_per_job: 4", "models_per_job: 2")
    made.ok("worldwidth", "render")
    made.commit("a small matrix")
    return made


def copy_of(repository: Repository, folder: Path) -> Repository:
    """The same study elsewhere, with a cache of its own."""
    shutil.copytree(repository.folder, folder, dirs_exist_ok=True, symlinks=True)
    made = Repository.__new__(Repository)
    made.folder = folder
    return made
