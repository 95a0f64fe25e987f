"""What is kept of every submission, in a folder of its own below .dvc/tmp: it is on the disk that all nodes share.

.dvc/tmp/worldwidth/slurm/trees/<commit>/     the code that the jobs run, and the tree in which they are planned
.dvc/tmp/worldwidth/slurm/<number>/           submission.json, and for every job:
    <job>.json  <job>.sh  <job>.log  <job>.end.json
.dvc/tmp/worldwidth/slurm/clones/<id>/        the clone in which the job with that id is at work
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_json
from worldwidth.settings.paths import scratch_folder
from worldwidth.sweep.variants import Variant


@dataclass(frozen=True)
class Submitted:
    """One job as it was handed to Slurm."""

    name: str
    id: int
    """Slurm's number."""
    variant: Variant
    stages: dict[str, str]
    """Stage -> its key (graph.py)."""
    after: list[int]
    """Ids of the jobs it waits for."""


@dataclass(frozen=True)
class End:
    """How a job ended, by its own account; a killed one leaves none."""

    code: int
    message: str
    """Its last words; empty if all went well."""
    stages: dict[str, str]
    """Stage -> what became of it, in the words of job.py; those that it did not come to are missing."""
    node: str
    starts: int
    """How often it was started."""
    seconds: float
    """Of the last start."""


@dataclass(frozen=True)
class Submission:
    """Jobs that were handed in together."""

    folder: Path
    commit: str
    variants: list[Variant]
    jobs: list[Submitted]

    def log(self, job: str) -> Path:
        """Where the output of a job is."""
        return self.folder / f"{job}.log"

    def end(self, job: str) -> End | None:
        """How a job ended; None if it has not, or could not say."""
        try:
            return End(**json.loads((self.folder / f"{job}.end.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, OSError) as error:
            raise WorldwidthError(f"{self.folder / f'{job}.end.json'}: not readable ({error}); delete it") from None

    def write(self) -> None:
        """Record it; to be called after every job that Slurm has taken."""
        values = {
            "commit": self.commit,
            "variants": [asdict(variant) for variant in self.variants],
            "jobs": [asdict(job) for job in self.jobs],
        }
        write_json(self.folder / "submission.json", values)


def slurm_folder() -> Path:
    """The folder of everything here, as an absolute path."""
    return scratch_folder().resolve() / "slurm"


def new_submission(commit: str, variants: list[Variant]) -> Submission:
    """The next one, without jobs yet."""
    number = max((_number(path) for path in _folders()), default=0) + 1
    folder = slurm_folder() / str(number)
    folder.mkdir(parents=True)
    return Submission(folder, commit, variants, [])


def submissions() -> list[Submission]:
    """All that were recorded, the first one first.

    Raises:
        WorldwidthError: a record is damaged.
    """
    found = ((folder, folder / "submission.json") for folder in sorted(_folders(), key=_number))
    return [_read(folder, path) for folder, path in found if path.is_file()]


def _folders() -> list[Path]:
    return [path for path in slurm_folder().glob("*") if path.is_dir() and path.name.isdecimal()]


def _number(path: Path) -> int:
    return int(path.name)


def _read(folder: Path, path: Path) -> Submission:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        jobs = [Submitted(**{**job, "variant": Variant(**job["variant"])}) for job in values["jobs"]]
        return Submission(folder, values["commit"], [Variant(**variant) for variant in values["variants"]], jobs)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise WorldwidthError(f"{path}: not readable ({error!r}); delete the folder {folder}") from None


def write_end(path: Path, end: End) -> None:
    """Record how a job ended."""
    values: dict[str, Any] = asdict(end)
    write_json(path, values)
