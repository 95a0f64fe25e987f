"""Stages grouped into jobs: what one process runs, on this machine or on a cluster."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from worldwidth.core.errors import WorldwidthError
from worldwidth.pipeline.stages import BY_MODEL, KINDS, STAGES, Kind, row_of
from worldwidth.settings.schema import Settings, is_plug_in


@dataclass(frozen=True)
class Job:
    """Stages that one process runs, in this order, and the jobs that must be done before."""

    name: str
    """That of its first stage."""
    kind: Kind
    stages: tuple[str, ...]
    after: tuple[str, ...]


def group_stages(settings: Settings, workers: int) -> list[tuple[str, ...]]:
    """All stages in the groups that share a process, as the table says, those of an earlier kind first.

    A group of fine-tunes is followed by the evaluations and the maps of its models; those of the base model share a
    job. Models that train equally many tasks stand together, for they take equally many steps; the longest come first.
    But plug-ins, which are soon done, come before.
    """
    per_job = settings.selected.execution.models_per_job
    by_length = sorted(settings.finetunes, key=lambda name: (not is_plug_in(name), -len(settings.finetunes[name])))
    chunk_of = {model: i // per_job for i, model in enumerate(by_length)}
    groups: dict[str | int, list[str]] = {}
    for stage in STAGES:
        for i, (name, member) in enumerate(stage.all_members(settings).items()):
            shared = stage.job or name
            if stage.is_dealt and workers > 1:
                shared = f"{stage.job} {i % workers}"
            key = chunk_of.get(member, f"after {member}") if stage.job == BY_MODEL else shared
            groups.setdefault(key, []).append(name)

    def place(key: str | int) -> tuple[int, int]:
        return KINDS.index(row_of(groups[key][0]).kind), key if isinstance(key, int) else 0

    return [tuple(groups[key]) for key in sorted(groups, key=place)]


def plan_jobs(groups: list[tuple[str, ...]], to_do: Set[str], needs: Mapping[str, Set[str]]) -> list[Job]:
    """The groups without the stages that are up to date, as jobs, none before those that it waits for.

    Args:
        to_do: the stages that DVC would run, restore or decide about.
        needs: stage -> the stages whose outputs it reads.

    Raises:
        WorldwidthError: a stage is in no group, or two groups wait for each other.
    """
    lost = sorted(to_do - {stage for group in groups for stage in group})
    if lost:
        raise WorldwidthError(
            f"stage {lost[0]}: the `members` of its row in src/worldwidth/pipeline/stages.py do not name it, so that "
            "it would never run"
        )
    kept = [tuple(stage for stage in group if stage in to_do) for group in groups]
    kept = [group for group in kept if group]
    owner = {stage: group[0] for group in kept for stage in group}
    jobs: dict[str, Job] = {}
    for group in kept:
        before = {owner[need] for stage in group for need in needs[stage] if need in owner} - {group[0]}
        jobs[group[0]] = Job(group[0], row_of(group[0]).kind, group, tuple(sorted(before)))
    try:
        return [jobs[name] for name in _in_order({job.name: job.after for job in jobs.values()})]
    except CycleError as error:
        raise WorldwidthError(
            f"jobs that wait for each other: {', '.join(error.args[1])}; give one of their stages another `job` in "
            "src/worldwidth/pipeline/stages.py"
        ) from None


def _in_order(after: dict[str, tuple[str, ...]]) -> list[str]:
    """Names so that none comes before one it waits for; otherwise in the order given."""
    rank = {name: i for i, name in enumerate(after)}
    sorter, ordered = TopologicalSorter(after), list[str]()
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=rank.__getitem__)
        ordered += ready
        sorter.done(*ready)
    return ordered
