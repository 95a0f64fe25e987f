"""A copy of the project in a temporary git repository, at smoke scale, for tests through the real DVC."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import yaml
from dvc.repo import Repo

PROJECT = Path(__file__).parent.parent


_RESULTS = ("results/", "plots/", "report/", "dvc.lock", "docs/findings")  # of the study in git, with what they say
_ASK_DVC = {"plan", "run", "job", "work", "sweep", "widths", "tune", "compare", "slurm"}


class Repository:
    """A copy of the project in a temporary git repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, check=True, capture_output=True, text=True
        ).stdout.split("\n")
        for name in filter(None, names):
            if (PROJECT / name).is_file() and not name.startswith(_RESULTS):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, folder / name)
        self.edit("params.yaml", "scale: laptop", "scale: smoke")
        self.edit("params.yaml", "seed: 42            # init", "seed: 1             # init")
        self.git("init", "-q")
        self.commit("start")

    @classmethod
    def at(cls, folder: Path) -> Self:
        """The repository that is there already."""
        made = cls.__new__(cls)
        made.folder = folder
        return made

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = _environment() | {"PYTHONWARNINGS": "error"}
        if command[0] == "dvc" or _ASK_DVC & set(command):
            environment.pop("PYTHONWARNINGS")  # DVC's own dependencies warn
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def start(self, *command: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """A command that goes on in a process group of its own, to be stopped; errors come with the output."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # in the background Ctrl-C is ignored
        )

    def ok(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def git(self, *arguments: str) -> str:
        return self.ok("git", *arguments)

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{old!r} not in {name}"
        path.unlink()  # a linked file is never edited in place
        path.write_text(text.replace(old, new))

    def changed_stages(self) -> set[str]:
        """What `dvc status` lists, without a process of its own."""
        with contextlib.chdir(self.folder), Repo() as repo:
            return set(repo.status())

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


def _environment() -> dict[str, str]:
    """The programs of this Python first."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def products(repository: Repository) -> dict[str, bytes]:
    """Every file that a run leaves, half-written ones included; timings, and DVC's .gitignore, left out."""
    folders = ("data", "models", "results", "plots")
    files = [path for folder in folders for path in (repository.folder / folder).rglob("*") if path.is_file()]
    wanted = [path for path in files if path.name != ".gitignore"]
    return {path.relative_to(repository.folder).as_posix(): path.read_bytes() for path in wanted}


def read_yaml_file(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def stages_run(output: str) -> list[str]:
    """Names of the stages that DVC says it ran, those restored from the run cache left out."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def stages_restored(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if "is cached - skipping run" in line]
