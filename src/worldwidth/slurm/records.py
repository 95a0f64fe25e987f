"""What is kept of every submission, in a folder of its own below .dvc/tmp: it is on the disk that all nodes share.

.dvc/tmp/worldwidth/slurm/trees/<commit>/     the code that the jobs run, and the tree in which they are planned
.dvc/tmp/worldwidth/slurm/<number>/           submission.json: the jobs, written once, before the first is submitted
                                              ids.json: name -> Slurm's number of each job that Slurm has taken
    <job>.sh  <job>.log  <job>.end.json
.dvc/tmp/worldwidth/slurm/clones/<id>/        the clone in which the job with that id is at work
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.core.files import read_bytes, read_text, write_json
from worldwidth.settings.paths import scratch_folder
from worldwidth.sweep.graph import VariantJob
from worldwidth.sweep.variants import Variant


@dataclass(frozen=True)
class End:
    """How a job ended, as recorded by itself; a killed one records nothing."""

    code: int
    message: str
    """Its last error; empty if all went well."""
    stages: dict[str, str]
    """Stage -> what became of it, in the words of engine/events.py; those that it did not come to are missing."""
    node: str
    starts: int
    """How often it was started."""
    seconds: float
    """Of the last start."""
    peak_bytes: int = 0
    """The most memory that it held then; 0 where an earlier version recorded it."""


@dataclass(frozen=True)
class Submission:
    """Jobs that were submitted together, and what they need on their nodes."""

    folder: Path
    ids: dict[str, int]
    """Name of a job -> its number; those that Slurm has not taken are missing."""
    checkout: Path
    cache: Path
    commit: str
    requeues: int
    variants: tuple[Variant, ...]
    jobs: tuple[VariantJob, ...]

    def file(self, job: str, ending: str) -> Path:
        """Where a job's script, log or end is."""
        return self.folder / f"{job}{ending}"

    def job(self, name: str) -> VariantJob:
        """The job of that name.

        Raises:
            WorldwidthError: there is none.
        """
        names = [job.name for job in self.jobs]
        if name not in names:
            raise WorldwidthError(f"job '{name}': not in {self.folder}{nearest(name, names)}")
        return self.jobs[names.index(name)]

    def numbered(self) -> list[tuple[int, VariantJob]]:
        """The jobs that Slurm has taken, and their numbers."""
        return [(self.ids[job.name], job) for job in self.jobs if job.name in self.ids]

    def waits_for(self, job: VariantJob) -> list[int]:
        """The numbers of the jobs that a job waits for."""
        return sorted([*(self.ids[name] for name in job.after), *job.after_ids])

    def end(self, job: str) -> End | None:
        """How a job ended; None if it has not, or was killed."""
        path = self.file(job, ".end.json")
        try:
            return _END.validate_json(read_bytes(path))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise WorldwidthError(f"{path}: not readable ({_shortly(error)}); delete it") from None

    def write(self) -> None:
        """Record it; to be called before Slurm is given the first job."""
        values = _SUBMISSION.dump_python(self, mode="json", exclude={"folder", "ids"})
        write_json(self.folder / "submission.json", values)

    def add_id(self, job: str, number: int) -> None:
        """Record that Slurm has taken a job."""
        self.ids[job] = number
        write_json(self.folder / "ids.json", self.ids)

    def write_end(self, job: str, end: End) -> None:
        """Record how a job ended."""
        write_json(self.file(job, ".end.json"), asdict(end))


_END, _SUBMISSION = TypeAdapter(End), TypeAdapter(Submission)


def slurm_folder() -> Path:
    """The folder of everything here, as an absolute path."""
    return scratch_folder().resolve() / "slurm"


def new_folder() -> Path:
    """An empty folder for the next submission."""
    folder = slurm_folder() / str(max((int(path.name) for path in _folders()), default=0) + 1)
    folder.mkdir(parents=True)
    return folder


def submissions() -> list[Submission]:
    """All that were recorded, the first one first.

    Raises:
        WorldwidthError: a record is damaged.
    """
    return [read_submission(folder) for folder in _folders() if (folder / "submission.json").is_file()]


def some_submissions() -> list[Submission]:
    """All that were recorded, the first one first.

    Raises:
        WorldwidthError: there are none, or a record is damaged.
    """
    found = submissions()
    if not found:
        raise WorldwidthError("nothing was submitted from here yet: `make slurm` does it")
    return found


def read_submission(folder: Path) -> Submission:
    """The submission recorded in ``folder``.

    Raises:
        WorldwidthError: there is none, or it is damaged.
    """
    path, ids = folder / "submission.json", folder / "ids.json"
    try:
        values = json.loads(read_text(path))
        known = json.loads(read_text(ids)) if ids.is_file() else {}
        return _SUBMISSION.validate_python({**values, "folder": folder, "ids": known})
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; nothing was submitted from {folder}") from None
    except (ValueError, TypeError, OSError) as error:
        raise WorldwidthError(f"{path}: not readable ({_shortly(error)}); delete the folder {folder}") from None


def _folders() -> list[Path]:
    found = [path for path in slurm_folder().glob("*") if path.is_dir() and path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name))


def _shortly(error: Exception) -> str:
    return " ".join(" ".join(str(error).splitlines()[:3]).split())  # pydantic's third line says what is wrong
