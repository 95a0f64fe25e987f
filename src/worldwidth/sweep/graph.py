"""From variants to jobs: what is still to do in each, what they share, and which job waits for which."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldwidth.dvcio.forecast import forecast_with_outs, still_to_do
from worldwidth.dvcio.lockfile import md5, value_at
from worldwidth.dvcio.repo import ancestors, needs_of, open_repo
from worldwidth.pipeline.groups import Job, group_stages
from worldwidth.pipeline.groups import plan_jobs as group_jobs
from worldwidth.pipeline.render import DVC_YAML
from worldwidth.pipeline.stages import row_of
from worldwidth.settings.cluster import Resources
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.settings.strict_yaml import read_yaml
from worldwidth.sweep.variants import Variant
from worldwidth.sweep.worktree import write_variant


@dataclass(frozen=True)
class VariantJob(Job):
    """A job of one variant, whose name is in front of its own: as it is planned, kept, and done on a node."""

    variant: Variant
    keys: tuple[str, ...]
    """Of its stages, in their order."""
    after_ids: tuple[int, ...]
    """Like ``after``, for jobs of earlier submissions that are under way: their numbers in Slurm."""

    def resources(self, settings: Settings) -> Resources:
        """What it asks for."""
        found: Resources = getattr(self.variant.at_scale(settings).selected.execution.jobs, self.kind)
        return found


@dataclass(frozen=True)
class Study:
    """One variant: its settings and its stages."""

    settings: Settings
    files: dict[Path, str]
    """The texts of its params.yaml and its dvc.yaml, which no other variant need share."""
    keys: dict[str, str]
    """Stage -> a hash, equal for two stages, of whatever variants, that run the same command on the same inputs."""
    needs: dict[str, set[str]]
    """Stage -> the stages whose outputs it reads."""
    to_do: set[str]
    """The stages whose outputs are not to be had from DVC's cache."""


def studies_in(tree: Path, commit: str, variants: list[Variant]) -> dict[Variant, Study]:
    """Every variant and what DVC would do in it, asked in ``tree``, which is set to one after another.

    Args:
        commit: where params.yaml comes from.
    """
    studies: dict[Variant, Study] = {}
    with chdir(tree):
        for variant in variants:
            settings = write_variant(Path(), commit, variant)
            with open_repo() as repo, repo.lock:
                studies[variant] = _study_of(repo, settings)
    return studies


def _study_of(repo: Any, settings: Settings) -> Study:
    """The variant that ``repo``, which must be locked, is set to; ``settings`` are its params.yaml."""
    answers, _ = forecast_with_outs(repo)
    files = {path: path.read_text(encoding="utf-8") for path in (PARAMS, DVC_YAML)}
    return Study(settings, files, _keys(repo, settings), needs_of(repo), set(still_to_do(answers)))


def _keys(repo: Any, settings: Settings) -> dict[str, str]:
    """stage -> a hash of its command, its params, its code and the keys of the stages it reads from.

    Of two stages the contents are known before they run. What comes after them depends on those, so that budgets
    which come to the same steps share their models.
    """
    keys: dict[str, str] = {}
    made: dict[str, str] = {}
    params = read_yaml(PARAMS)
    for stage in repo.index.stages:  # in the order of dvc.yaml, where no stage comes before its inputs
        inputs = [
            {key: value_at(params, key) for key in dep.params} if hasattr(dep, "params") else _input(dep.def_path, made)
            for dep in stage.deps
        ]
        name = stage.addressing
        keys[name] = hashlib.sha256(json.dumps([stage.cmd, inputs]).encode()).hexdigest()[:16]
        contents = row_of(name).contents
        known = contents(settings) if contents else {}
        made |= {out.def_path: known.get(out.def_path, keys[name]) for out in stage.outs}
    return keys


def _input(path: str, made: dict[str, str]) -> tuple[str, str | None]:
    return path, made[path] if path in made else md5(Path(path))


def plan_jobs(studies: dict[Variant, Study], under_way: Mapping[str, int], workers: int = 1) -> list[VariantJob]:
    """The jobs that all variants together still need, in an order in which they can be submitted.

    Args:
        under_way: key of a stage -> number of the job, waiting or running already, that does it.
        workers: over so many jobs the stages are dealt of which there can be many small ones.
    """
    available = {key for study in studies.values() for stage, key in study.keys.items() if stage not in study.to_do}
    owner: dict[str, str | int] = dict(under_way)
    before: dict[str | int, set[str | int]] = {}
    jobs: list[VariantJob] = []
    for variant, study in studies.items():
        keys, needs = study.keys, study.needs
        for group in group_jobs(group_stages(study.settings, workers), needs.keys(), needs):
            lacking = [stage for stage in group.stages if stage in study.to_do and keys[stage] not in available]
            own = tuple(stage for stage in lacking if keys[stage] not in owner)
            if any(row_of(stage).in_git for stage in own):  # not in the cache: they are made together
                own = group.stages
            if not own:
                continue
            name = f"{variant.name}.{own[0].replace('@', '-')}"
            owners = {owner[keys[stage]] for stage in ancestors(own, needs) if keys[stage] in owner}
            owner |= {keys[stage]: name for stage in own}
            further = {far for near in owners for far in before.get(near, ())}
            before[name] = owners | further
            nearest = owners - further
            jobs.append(
                VariantJob(
                    name=name,
                    kind=group.kind,
                    stages=own,
                    after=tuple(sorted(one for one in nearest if isinstance(one, str))),
                    variant=variant,
                    keys=tuple(keys[stage] for stage in own),
                    after_ids=tuple(sorted(one for one in nearest if isinstance(one, int))),
                )
            )
    return jobs


def save_jobs(jobs: list[VariantJob], studies: Mapping[Variant, Study]) -> list[VariantJob]:
    """The jobs, and behind the last one of every variant one without stages, after all that do stages of it."""
    owner = {key: job for job in jobs for key in job.keys}
    planned: list[VariantJob] = []
    for variant, study in studies.items():
        before = {owner[key].name for key in study.keys.values() if key in owner}
        planned += [job for job in jobs if job.variant == variant]
        name = f"{variant.name}.experiment"
        planned.append(VariantJob(name, "summary", (), tuple(sorted(before)), variant, (), ()))
    return planned
