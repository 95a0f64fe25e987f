"""The stages of dvc.yaml and what each reads from which, folded by group: ``ftwb1`` for ftwb1@1 to ftwb1@7."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StageGraph:
    """Groups of stages, and between which of them files go."""

    groups: dict[str, tuple[str, ...]]
    """Name before any ``@`` -> its stages, both in the order of dvc.yaml."""
    edges: tuple[tuple[str, str], ...]
    """(the group that writes, the group that reads); those within a group are left out."""

    def essential(self) -> list[tuple[str, str]]:
        """The edges that no longer way implies."""
        after: dict[str, set[str]] = {name: set() for name in self.groups}
        for writer, reader in self.edges:
            after[writer].add(reader)
        further = {name: set[str]().union(*(_reached(near, after) for near in after[name])) for name in after}
        return [(writer, reader) for writer, reader in self.edges if reader not in further[writer]]

    def title(self, name: str) -> str:
        """``ftwb1 x 7``; of a group of one the stage itself."""
        stages = self.groups[name]
        return f"{name} \N{MULTIPLICATION SIGN} {len(stages)}" if len(stages) > 1 else stages[0]


def _reached(name: str, after: Mapping[str, set[str]]) -> set[str]:
    return set(after[name]).union(*(_reached(near, after) for near in after[name]))


def stage_graph(stages: Mapping[str, Mapping[str, Any]]) -> StageGraph:
    """The graph of the stages of dvc.yaml, as :func:`stages_of_yaml` gives them.

    A stage reads from another where one of its deps is an out of that, lies in one, or holds one.
    """
    groups: dict[str, list[str]] = {}
    for stage in stages:
        groups.setdefault(group_of(stage), []).append(stage)
    makers = [(out, stage) for stage, values in stages.items() for out in outs_of(values)]
    edges = {
        (group_of(maker), group_of(stage)): None
        for stage, values in stages.items()
        for dep in values.get("deps", ())
        for out, maker in makers
        if _touches(dep, out) and group_of(maker) != group_of(stage)
    }
    return StageGraph({name: tuple(members) for name, members in groups.items()}, tuple(edges))


def group_of(stage: str) -> str:
    """Name of the group that a stage is in."""
    return stage.partition("@")[0]


def outs_of(stage: Mapping[str, Any]) -> Iterable[str]:
    """Paths of all that a stage of dvc.yaml writes."""
    for kind in ("outs", "metrics", "plots"):
        for out in stage.get(kind, ()):
            yield out if isinstance(out, str) else next(iter(out))


def _touches(dep: str, out: str) -> bool:
    return f"{dep}/".startswith(f"{out}/") or f"{out}/".startswith(f"{dep}/")
