"""What jobs asked for against what they used, by kind, from the ends that they record themselves."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from worldwidth.pipeline.stages import KINDS, Kind
from worldwidth.settings.cluster import Resources
from worldwidth.settings.schema import Settings
from worldwidth.slurm.records import End, Submission


@dataclass(frozen=True)
class Used:
    """The jobs of one kind that have ended well."""

    kind: Kind
    asked: Resources
    jobs: int
    minutes: float
    """The longest, of its last start."""
    memory_gb: float
    """The most that one held; 0 where that is not recorded."""


def used(settings: Settings, made: Iterable[Submission]) -> Iterator[Used]:
    """A row for each kind of which jobs have ended well, in the order of the kinds."""
    ends: dict[Kind, list[End]] = {}
    asked: dict[Kind, Resources] = {}
    for submission in made:
        for _, job in submission.numbered():
            end = submission.end(job.name)
            if end and end.code == 0:
                ends.setdefault(job.kind, []).append(end)
                asked[job.kind] = job.resources(settings)
    for kind in KINDS:
        if found := ends.get(kind):
            minutes, held = max(end.seconds for end in found) / 60, max(end.peak_bytes for end in found)
            yield Used(kind, asked[kind], len(found), minutes, held / 1e9)


def used_lines(rows: Iterable[Used]) -> Iterator[str]:
    """The table, with its head."""
    yield f"{'asked against used':<22}{'jobs':>6}{'minutes':>18}{'memory, GB':>20}"
    for row in rows:
        held = f"{row.memory_gb:.1f}" if row.memory_gb else "?"
        minutes, memory = f"{row.minutes:.1f} of {row.asked.minutes}", f"{held} of {row.asked.memory_gb}"
        yield f"{row.kind:<22}{row.jobs:>6}{minutes:>18}{memory:>20}"
