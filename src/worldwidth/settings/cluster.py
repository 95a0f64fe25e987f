"""The part of params.yaml that says how stages are run, here and on a cluster, and what each kind of job asks for.

None of it is tracked by DVC, for it changes no result.
"""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from worldwidth.settings.values import Count

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:@+-]{0,128}$")]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{0,1000}$")]
Option = Annotated[str, Field(pattern=r"^--[a-z][a-z0-9-]*(=[^\x00-\x1f\x7f]{1,500})?$")]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Resources:
    """What one job asks for."""

    minutes: Annotated[int, Field(ge=1, le=43_200)]
    """Time limit. Some time before it a job saves its training and asks to be started again."""
    cores: Annotated[int, Field(ge=1, le=1024)]
    memory_gb: Annotated[int, Field(ge=1, le=16_384)]
    """Gigabytes of main memory."""
    gpus: Annotated[int, Field(ge=0, le=16)] = 0


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Jobs:
    """What the jobs ask for, by kind."""

    data: Resources = Resources(minutes=60, cores=1, memory_gb=4)
    """Cities, corpora and the budget."""
    base: Resources = Resources(minutes=240, cores=2, memory_gb=8)
    """Pre-training."""
    finetunes: Resources = Resources(minutes=240, cores=1, memory_gb=8)
    """``models_per_job`` fine-tunes and their evaluations."""
    evaluation: Resources = Resources(minutes=60, cores=1, memory_gb=8)
    """The evaluation of the base model."""
    summary: Resources = Resources(minutes=30, cores=1, memory_gb=4)
    """Scores, tables and figures."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Execution:
    """How the stages are run: not tracked, for it changes no result."""

    models_per_job: Count
    """Fine-tuned models that one job trains and evaluates: in one process, and on a GPU as one stacked model."""
    resume_seconds: Annotated[float, Field(ge=0, le=86_400)] = 10
    """Seconds between two savings of a training run's state, from which it goes on after a kill. More where saving
    would take over a hundredth of the time."""
    silence_minutes: Annotated[float, Field(gt=0, le=10_080)] = 10
    """Minutes without a sign of life after which a line says that a stage still runs, and where in the code it is."""
    hang_minutes: Annotated[float, Field(ge=0, le=10_080)] = 60
    """Minutes without one after which the stage is ended, with exit code 124; 0 is never."""
    notify: Line = ""
    """A line of shell for when a run or a sweep has ended, well or not; what became of it is in its environment, as
    WORLDWIDTH_OUTCOME. Empty: none."""
    tensorboard: Line = ""
    """A folder in which TensorBoard, an extra of this package, finds training curves while they grow. Empty: none."""
    jobs: Jobs = Jobs()
    """What the jobs of `make slurm` ask for."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Cluster:
    """How jobs are handed to Slurm."""

    partition: Word = ""
    """Empty: the cluster's default."""
    account: Word = ""
    """Empty: the user's default."""
    shared_folder: Line = "."
    """A folder that all nodes see under the same name. This project and DVC's cache must lie in it; ``.`` is the
    project's folder itself."""
    activate: Line = ""
    """A line of bash that each job runs first, in the project's folder, such as ``module load python/3.12``; the
    ``python`` found after it is used. Empty: the Python that submits."""
    sbatch: tuple[Option, ...] = ()
    """Further options of sbatch, such as ``--qos=long``."""
    requeues: Annotated[int, Field(ge=0, le=1000)] = 5
    """How many times a job may be started again, after the loss of its node or at its time limit."""
