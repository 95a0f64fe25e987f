"""A study of 26 stages at smoke scale, in a repository of its own: made once for a whole test session, then copied."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from dvc.utils.serialize import modify_yaml

from repository import Repository

STAGES = 26
FINETUNES = ("ftwb1-1", "ftwb1-4", "ftwb1-5", "ftwb2-15")


def fewer(folder: Path, finetunes: tuple[str, ...]) -> None:
    """Leave three tasks and some of their fine-tunes in a params.yaml, in the form in which DVC writes it."""
    with modify_yaml(str(folder / "params.yaml")) as values:
        values["tasks"] = ["distance", "compass", "inside"]
        for name in [name for name in values["finetunes"] if name not in finetunes]:
            del values["finetunes"][name]
        for sweep in values["sweeps"].values():
            if "only" in sweep:
                sweep["only"] = ["ftwb1"]
        for scale in values["scales"].values():
            scale["tuning"]["only"] = [finetunes[0]]


def small_study(folder: Path, finetunes: tuple[str, ...] = FINETUNES) -> Repository:
    """Three tasks and four fine-tunes, two of them in a job."""
    made = Repository(folder)
    fewer(made.folder, finetunes)
    made.edit("params.yaml", "models_per_job: 4", "models_per_job: 2")
    made.ok("worldwidth", "render")
    made.commit("a small matrix")
    return made


def finished_study(base: Path, finetunes: tuple[str, ...] = FINETUNES) -> Repository:
    """The small study, run by `worldwidth run --jobs 2` and committed. Copy it; do not change it.

    It takes half a minute of CPU time, so that all workers of a session share one: ``base`` is any worker's base
    folder of temporary files.
    """

    def make(folder: Path) -> None:
        made = small_study(folder, finetunes)
        output = made.ok("worldwidth", "run", "--jobs", "2")
        (folder / ".git" / "output-of-the-run").write_text(output)
        made.commit("the study")

    return Repository.at(once(base, f"finished-{len(finetunes)}", make))


def once(base: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that ``make`` fills once in a test session; whoever comes meanwhile waits."""
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, is_made = shared / name, shared / f"{name}.made"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made.exists():
            folder.mkdir()
            make(folder)
            is_made.touch()
    return folder


def copy_of(repository: Repository, folder: Path) -> Repository:
    """The same study elsewhere, with a cache of its own; 12 MB in 0.1 s of CPU time."""
    shutil.copytree(repository.folder, folder, dirs_exist_ok=True, symlinks=True)
    return Repository.at(folder)
