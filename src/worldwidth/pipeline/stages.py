"""The table of stages: all that is to be said of a stage beside its script and its lines in templates/dvc.yaml.j2.

Whatever has to know which stages there are reads it here: the template, `check --lock`, the jobs of `worldwidth run`
and of Slurm, the forecast, the comparison, the doctor. A new stage is a script, a row, and lines in the template.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.compute import finetuning_recipe, plug_in_recipe, pretraining_recipe
from worldwidth.settings.names import stage_of
from worldwidth.settings.paths import ADDED_CORPORA, FINETUNING, PLUG_IN, PRETRAINING
from worldwidth.settings.schema import Settings

Kind = Literal["data", "base", "evaluation", "finetunes", "summary"]
KINDS: tuple[Kind, ...] = ("data", "base", "evaluation", "finetunes", "summary")
"""What a job can ask for, a field of ``scales.SCALE.execution.jobs``; of jobs that are ready the first goes first."""

BY_MODEL = "models"
"""As a ``job``: the stages of ``execution.models_per_job`` fine-tuned models share one; those of
the base model share another."""


def _once(settings: Settings) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of the table: a stage of dvc.yaml, or a group of stages that run the same script."""

    name: str
    """That of its script, stages/NAME.py, and of ``code.NAME`` in the template."""
    kind: Kind
    job: str = ""
    """Stages with the same word here share a job; without one each is a job of its own."""
    is_dealt: bool = False
    """Whether its stages are dealt over all workers instead, where there are several."""
    at_once: bool = False
    """Whether its script has ``run_together``, which runs those of its stages that follow each other in a job."""
    members: Callable[[Settings], dict[str, str] | None] = _once
    """DVC's name of every stage of the group -> the task or model that it is for; None for a single stage."""
    pattern: str = ""
    """Of the name in dvc.yaml, before any ``@``, where that is not the script's."""
    runs_tasks: bool = False
    """Whether it runs the tasks' code, which is imported by name."""
    in_git: bool = False
    """Whether its outs lie in git, and not in DVC's cache."""
    contents: Callable[[Settings], dict[str, str]] | None = None
    """Path of each of its outs -> what tells it apart before it is made, where that is known. The stage's code makes
    none of the study's numbers."""
    constant: str = ""
    """The text of its out, where that is the same whenever it succeeds; what follows is then known before it runs."""

    @property
    def script(self) -> Path:
        """The file that runs it."""
        return Path("stages") / f"{self.name}.py"

    def has(self, name: str) -> bool:
        """Whether ``name``, as DVC gives it, is one of its stages."""
        return bool(re.fullmatch(self.pattern or self.name, name.split("@")[0]))

    def all_members(self, settings: Settings) -> dict[str, str]:
        """DVC's name of each of its stages -> the task or model it is for; a single stage is for itself."""
        found = self.members(settings)
        return {self.pattern or self.name: self.name} if found is None else found


def _corpora(settings: Settings) -> dict[str, str]:
    return {f"corpus@{task}": task for task in settings.tasks}


def _finetunes(settings: Settings) -> dict[str, str]:
    return {stage_of(model): model for model in settings.finetunes}


def _evaluations(settings: Settings) -> dict[str, str]:
    return {f"evaluate@{model}": model for model in settings.models}


def _representations(settings: Settings) -> dict[str, str]:
    return {f"represent@{model}": model for model in settings.models}


CHECKED = "params.yaml is sound and dvc.yaml matches it\n"


def _sound(settings: Settings) -> dict[str, str]:
    return {"data/checked.txt": "sound"}


def _recipes(settings: Settings) -> dict[str, str]:
    return {
        PRETRAINING.as_posix(): repr(pretraining_recipe(settings)),
        FINETUNING.as_posix(): repr(finetuning_recipe(settings)),
        PLUG_IN.as_posix(): repr(plug_in_recipe(settings)),
    }


def _added(settings: Settings) -> dict[str, str]:
    """Lines of Atlantis are those of its draw, which is not known here."""
    return {} if settings.pretraining.atlantis else {ADDED_CORPORA.as_posix(): "nothing"}


STAGES: tuple[Stage, ...] = (
    Stage(name="check", kind="data", job="start", contents=_sound, constant=CHECKED),
    Stage(name="cities", kind="data", job="start"),
    Stage(name="corpus", kind="data", job="start", is_dealt=True, members=_corpora, runs_tasks=True),
    Stage(name="atlantis", kind="data", job="start", runs_tasks=True),
    Stage(name="recipe", kind="data", job="start", contents=_recipes),
    Stage(name="added", kind="data", job="start", contents=_added),
    Stage(name="pretrain", kind="base", pattern="base"),
    Stage(
        name="finetune", kind="finetunes", job=BY_MODEL, at_once=True, members=_finetunes, pattern="(ftwb|plug)[0-9]"
    ),
    Stage(name="evaluate", kind="evaluation", job=BY_MODEL, members=_evaluations, runs_tasks=True),
    Stage(name="represent", kind="evaluation", job=BY_MODEL, members=_representations, runs_tasks=True),
    Stage(name="summarize", kind="summary", job="tables", runs_tasks=True, in_git=True),
    Stage(name="plots", kind="summary", job="tables", in_git=True),
    Stage(name="representations", kind="summary", job="tables", in_git=True),
)
"""In the order of dvc.yaml, where no stage comes before its inputs."""


def stage_names(settings: Settings) -> list[str]:
    """DVC's name of every stage, in the order of dvc.yaml."""
    return [name for stage in STAGES for name in stage.all_members(settings)]


def row_of(name: str) -> Stage:
    """The row of the stage that DVC calls ``name``, such as ``evaluate@base``.

    Raises:
        WorldwidthError: there is none.
    """
    for stage in STAGES:
        if stage.has(name):
            return stage
    raise WorldwidthError(
        f"stage {name}: has no row in src/worldwidth/pipeline/stages.py; add it, or take the stage out of "
        "templates/dvc.yaml.j2"
    )


def lies_in_git(name: str) -> bool:
    """Whether git, and not DVC's cache, keeps what the stage that DVC calls ``name`` writes; no for an unknown one."""
    return any(stage.in_git for stage in STAGES if stage.has(name))
