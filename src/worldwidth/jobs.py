"""Stages grouped into jobs that can run at the same time, and the Makefile that runs them."""

from dataclasses import dataclass

from worldwidth.layout import stage_of
from worldwidth.matrix import Matrix


@dataclass(frozen=True)
class Job:
    """Stages that one process runs, in this order, and the jobs that must be done before."""

    name: str
    stages: tuple[str, ...]
    after: tuple[str, ...]


def group_stages(matrix: Matrix, workers: int) -> list[tuple[str, ...]]:
    """All stages in the groups that share a process, those that others wait for and the long ones first.

    A group of fine-tunes is followed by the evaluations of its models. Models that train equally many
    tasks stand together, for they take equally many steps.
    """
    per_job = matrix.selected.execution.models_per_job
    by_length = sorted(matrix.finetunes, key=lambda name: -len(matrix.finetunes[name]))
    chunks = [by_length[i : i + per_job] for i in range(0, len(by_length), per_job)]
    corpora = [tuple(f"corpus@{task}" for task in matrix.tasks[i::workers]) for i in range(workers)]
    return [
        ("check", "cities", "schedule"),
        *filter(None, corpora),
        ("base",),
        *((*map(stage_of, chunk), *(f"evaluate@{name}" for name in chunk)) for chunk in chunks),
        ("evaluate@base",),
        ("summarize", "plots"),
    ]


def plan_jobs(groups: list[tuple[str, ...]], to_do: set[str], needs: dict[str, set[str]]) -> list[Job]:
    """The groups without the stages that are up to date, as jobs.

    Args:
        to_do: the stages that DVC would run, restore or decide about.
        needs: stage -> the stages whose outputs it reads.
    """
    kept = [tuple(stage for stage in group if stage in to_do) for group in groups]
    kept = [group for group in kept if group]
    owner = {stage: group[0] for group in kept for stage in group}
    jobs: list[Job] = []
    for group in kept:
        before = {owner[need] for stage in group for need in needs[stage] if need in owner}
        jobs.append(Job(group[0], group, tuple(sorted(before - {group[0]}))))
    return jobs


def makefile(jobs: list[Job], command: str) -> str:
    """A Makefile with one target a job; ``command`` and the job's stages make its recipe."""
    lines = [".PHONY: all " + " ".join(job.name for job in jobs), "all: " + " ".join(job.name for job in jobs)]
    for job in jobs:
        lines.append(f"{job.name}: {' '.join(job.after)}".rstrip())
        lines.append(f"\t@{command.replace('$', '$$')} {' '.join(job.stages)}")
    return "\n".join(lines) + "\n"
