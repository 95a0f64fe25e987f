"""`worldwidth slurm status`: what became of every stage that was submitted, from Slurm and from the jobs' own records.

It asks once and remembers nothing; no process of ours runs while jobs do.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from worldwidth.engine.events import FAILED as STAGE_FAILED
from worldwidth.engine.events import NOT_RUN, RAN, RESTORED
from worldwidth.engine.watch import last_lines
from worldwidth.slurm.commands import CANCELLED as SLURM_CANCELLED
from worldwidth.slurm.commands import COMPLETED, WAITING, QueueEntry, accounted, queue, require_slurm
from worldwidth.slurm.records import End, Submission, some_submissions
from worldwidth.sweep.variants import Variant

WAITS, RUNS, DONE, FAILED, CANCELLED, LOST = "waiting", "running", "done", "failed", "cancelled", "lost"
_NO_LOG = "no log: the job did not get so far, or its node does not see this folder (cluster.shared_folder)"


@dataclass(frozen=True)
class StageStatus:
    """One stage of one variant."""

    variant: str
    stage: str
    state: str
    """waiting, running, done, failed, cancelled, or lost: Slurm has forgotten the job, which recorded no end."""
    job: int
    detail: str
    """What there is to say, for people."""
    log: str


def statuses() -> list[StageStatus]:
    """Every stage ever submitted, as its last job has it.

    Raises:
        WorldwidthError: nothing was submitted, or Slurm does not answer.
    """
    require_slurm()
    made = some_submissions()
    known = _known(made)
    found: dict[tuple[Variant, str], StageStatus] = {}
    jobs: dict[int, str] = {}
    for submission in made:
        for number, job in submission.numbered():
            end = submission.end(job.name)
            state, detail = _of_job(submission.waits_for(job), known.get(number), end, jobs)
            jobs[number] = state
            for stage in job.stages:
                own, words = _of_stage(stage, state, detail, end)
                log = str(submission.file(job.name, ".log"))
                found[job.variant, stage] = StageStatus(job.variant.name, stage, own, number, words, log)
    return list(found.values())


def _known(made: list[Submission]) -> dict[int, QueueEntry]:
    """Slurm's word on every job that it, or its accounting, remembers under the job's name."""
    entries = queue()
    jobs = [numbered for submission in made for numbered in submission.numbered()]
    entries |= accounted([number for number, _ in jobs if number not in entries])
    return {number: entries[number] for number, job in jobs if number in entries and entries[number].name == job.name}


def _of_job(
    waits_for: list[int], entry: QueueEntry | None, end: End | None, earlier: dict[int, str]
) -> tuple[str, str]:
    """State and detail of a job, given the states of those submitted before it."""
    if entry and entry.under_way:
        if entry.state in WAITING:
            after = [number for number in waits_for if earlier.get(number) in (WAITS, RUNS)]
            listed = f"after {', '.join(map(str, after))}" if after else entry.reason
            again = ", to be started again" if end else ""
            return WAITS, f"{listed}{again}"
        return RUNS, f"for {entry.elapsed} on {entry.node}"
    if end and (not entry or entry.state not in SLURM_CANCELLED):
        times = f", started {end.starts} times" if end.starts > 1 else ""
        if end.code == 0:
            return DONE, f"{end.seconds:.0f} s on {end.node}{times}"
        return FAILED, f"{end.message}{times}"
    if entry and entry.state == COMPLETED:
        return DONE, ""
    if any(earlier.get(number) in (FAILED, CANCELLED, LOST) for number in waits_for):
        return CANCELLED, "for a job before it did not end well"
    if not entry:
        return LOST, "Slurm does not know the job any more, and it recorded no end"
    if entry.state in SLURM_CANCELLED | {"PENDING"}:
        return CANCELLED, entry.reason if entry.reason not in ("", "None") else "by its owner or an operator"
    return FAILED, f"Slurm says {entry.state}"


def _of_stage(stage: str, state: str, detail: str, end: End | None) -> tuple[str, str]:
    """State and detail of one stage of a job that is in ``state``."""
    outcome = end.stages.get(stage) if end and state in (DONE, FAILED) else None
    if outcome in (RAN, RESTORED):
        return DONE, "" if state == FAILED else f"{outcome}, {detail}"
    if state == FAILED and outcome == NOT_RUN:
        return CANCELLED, "for a stage before it failed"
    if state == FAILED and outcome is None and end and STAGE_FAILED in end.stages.values():
        return CANCELLED, "the job broke off before it"
    return state, detail


def print_status(as_json: bool) -> None:
    """Print the status: of one variant stage by stage, of several a line each, and what failed."""
    found = statuses()
    if as_json:
        print(json.dumps([asdict(status) for status in found], indent=2))
        return
    variants = list(dict.fromkeys(status.variant for status in found))
    if len(variants) == 1:
        print(f"{variants[0]}\n{'stage':<22} {'job':>7}  state")
        for status in found:
            print(f"{status.stage:<22} {status.job:>7}  {status.state}{': ' if status.detail else ''}{status.detail}")
    else:
        width = max(map(len, variants))
        for variant in variants:
            print(f"{variant:<{width}}  {_counts([s for s in found if s.variant == variant])}")
    print(f"\n{len(found)} stages: {_counts(found)}")
    _print_failures(found)


def _counts(found: list[StageStatus]) -> str:
    counted = Counter(status.state for status in found)
    return ", ".join(
        f"{counted[state]} {state}" for state in (DONE, RUNS, WAITS, FAILED, CANCELLED, LOST) if counted[state]
    )


def _print_failures(found: list[StageStatus]) -> None:
    """For each failed job its stages, and the last lines of its log."""
    failed: dict[str, list[StageStatus]] = {}
    for status in found:
        if status.state in (FAILED, LOST):
            failed.setdefault(status.log, []).append(status)
    for log, stages in failed.items():
        names = " ".join(status.stage for status in stages)
        print(f"\n{stages[0].variant}, job {stages[0].job}: {names}: {stages[0].state}: {stages[0].detail}")
        print("".join(f"  {line}\n" for line in [log, *(last_lines(Path(log)) or [_NO_LOG])]), end="")
    if failed:
        print("\nafter fixing it, the same `make slurm` submits what is missing")
