"""From variants to jobs: what is still to do in each, what they share, and which job waits for which."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worldwidth.dvcio.forecast import CACHED, UP_TO_DATE, forecast_with_outs
from worldwidth.dvcio.lockfile import md5, value_at
from worldwidth.dvcio.repo import needs_of
from worldwidth.pipeline.groups import group_stages
from worldwidth.pipeline.groups import plan_jobs as group_jobs
from worldwidth.pipeline.stages import row_of
from worldwidth.settings.cluster import Resources
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.settings.strict_yaml import read_yaml
from worldwidth.sweep.variants import Variant


@dataclass(frozen=True)
class Stage:
    """One stage of one variant."""

    name: str
    key: str
    """Equal for two stages, of whatever variants, that do the same: the same command on the same inputs."""
    state: str
    """What DVC would do with it, as in forecast.py."""
    needs: frozenset[str]
    """The stages whose outputs it reads."""

    @property
    def done(self) -> bool:
        """Whether there is nothing to do but to take its outputs from DVC's cache."""
        return self.state in (UP_TO_DATE, CACHED)


@dataclass(frozen=True)
class Job:
    """Stages that one job of Slurm runs, in this order."""

    name: str
    kind: str
    """A field of ``scales.<scale>.execution.jobs``."""
    variant: Variant
    stages: tuple[str, ...]
    keys: tuple[str, ...]
    after: tuple[str, ...]
    """Names of the jobs of this submission that must be done before."""
    after_ids: tuple[int, ...]
    """The same for jobs of earlier submissions that are under way: their ids in Slurm."""

    def resources(self, settings: Settings) -> Resources:
        """What it asks for."""
        found: Resources = getattr(settings.selected.execution.jobs, self.kind)
        return found


def stages_of(repo: Any, settings: Settings) -> dict[str, Stage]:
    """Every stage of the variant that ``repo``, which must be locked, is set to; ``matrix`` is its params.yaml."""
    states = {answer.stage: answer.state for answer in forecast_with_outs(repo)[0]}
    keys, needs = _keys(repo, settings), needs_of(repo)
    return {name: Stage(name, keys[name], states[name], frozenset(needs[name])) for name in states}


def _keys(repo: Any, settings: Settings) -> dict[str, str]:
    """stage -> a hash of its command, its params, its code and the keys of the stages it reads from.

    Of two stages the contents are known before they run. What stands behind them hangs on those, so that budgets
    which come to the same steps share their models.
    """
    keys: dict[str, str] = {}
    made: dict[str, str] = {}
    params = read_yaml(PARAMS)
    for stage in repo.index.stages:  # in the order of dvc.yaml, where no stage stands before its inputs
        inputs = [
            {key: value_at(params, key) for key in dep.params} if hasattr(dep, "params") else _input(dep.def_path, made)
            for dep in stage.deps
        ]
        name = stage.addressing
        keys[name] = hashlib.sha256(json.dumps([stage.cmd, inputs]).encode()).hexdigest()[:16]
        content = row_of(name).content
        made |= dict.fromkeys((out.def_path for out in stage.outs), content(settings) if content else keys[name])
    return keys


def _input(path: str, made: dict[str, str]) -> tuple[str, str | None]:
    return path, made[path] if path in made else md5(Path(path))


def plan_jobs(studies: dict[Variant, tuple[Settings, dict[str, Stage]]], under_way: dict[str, int]) -> list[Job]:
    """The jobs that all variants together still need, in an order in which they can be handed to Slurm.

    Args:
        under_way: key of a stage -> id of the job, waiting or running already, that does it.
    """
    owner: dict[str, str | int] = dict(under_way)
    before: dict[str | int, set[str | int]] = {}
    jobs: list[Job] = []
    for variant, (settings, stages) in studies.items():
        needs = {name: stage.needs for name, stage in stages.items()}
        for planned in group_jobs(group_stages(settings, workers=1), needs.keys(), needs):
            kind, group = planned.kind, planned.stages
            own = [stages[name] for name in group if not stages[name].done and stages[name].key not in owner]
            if any(row_of(stage.name).in_git for stage in own):  # not in the cache: they are made together
                own = [stages[name] for name in group]
            if own:
                job = f"{variant.name}.{own[0].name.replace('@', '-')}"
                keys = {stages[name].key for name in ancestors([stage.name for stage in own], needs)}
                owners = {owner[key] for key in keys if key in owner}
                owner |= {stage.key: job for stage in own}
                before[job] = owners | {far for near in owners for far in before.get(near, ())}
                nearest = owners - {far for near in owners for far in before.get(near, ())}
                jobs.append(
                    Job(
                        name=job,
                        kind=kind,
                        variant=variant,
                        stages=tuple(stage.name for stage in own),
                        keys=tuple(stage.key for stage in own),
                        after=tuple(sorted(name for name in nearest if isinstance(name, str))),
                        after_ids=tuple(sorted(number for number in nearest if isinstance(number, int))),
                    )
                )
    return jobs


def ancestors(names: Iterable[str], needs: Mapping[str, Iterable[str]]) -> set[str]:
    """All stages that those in ``names`` hang on, given which stages each one reads from."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        new = set(needs[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


def as_values(job: Job) -> dict[str, Any]:
    """The job as JSON has it."""
    return {**asdict(job), "variant": asdict(job.variant)}
