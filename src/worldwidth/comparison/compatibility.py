"""May these runs be compared? Same scale, world, settings, code and data; only arch, seed and budget differ."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.experiments import Experiment
from worldwidth.pipeline.stages import STAGES
from worldwidth.settings.paths import CORPORA

_HERE = frozenset(stage.name for stage in STAGES if stage.in_git or stage.content)
"""Stages whose code does not make the numbers: their tables and figures are made again by the comparison."""


def check_comparable(experiments: list[Experiment]) -> None:
    """Compare every experiment with the first.

    Raises:
        WorldwidthError: two were made under other conditions; the first difference is named.
    """
    first = experiments[0]
    for other in experiments[1:]:
        problem = next(_differences(first, other), None)
        if problem:
            raise WorldwidthError(f"{first.name} and {other.name} cannot be compared: {problem}")


def _differences(first: Experiment, other: Experiment) -> Iterator[str]:
    if first.params.get("scale") != other.params.get("scale"):
        yield f"their scales are {first.params.get('scale')} and {other.params.get('scale')}"
    for path, one, two in _unequal(_conditions(first), _conditions(other), ""):
        yield f"{path} is {one!r} in one and {two!r} in the other"
    mine, theirs = first.code(without=_HERE), other.code(without=_HERE)
    for file in sorted(mine.keys() | theirs.keys()):
        if mine.get(file) != theirs.get(file):
            yield f"they were made by different versions of {file}; `make widths` makes them again"
    for path in sorted(first.outs):
        if path.startswith(f"{CORPORA.as_posix()}/") and first.outs[path] != other.outs.get(path):
            yield f"their {path} differ: the test lines are not the same"


def _conditions(experiment: Experiment) -> dict[str, Any]:
    """The settings that must be equal: all of the selected scale but how it is run and summarised."""
    settings = experiment.settings
    values = asdict(replace(settings, scales={settings.scale: settings.selected}))
    for dial in ("arch", "seed", "budget"):
        del values[dial]
    for part in ("statistics", "execution"):
        del values["scales"][settings.scale][part]
    values["finetunes"] = {name: list(trained) for name, trained in values["finetunes"].items()}
    return values


def _unequal(one: Any, two: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of every leaf that differs."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in dict.fromkeys([*one, *two]):
            yield from _unequal(one.get(key), two.get(key), f"{path}.{key}" if path else str(key))
    elif one != two:
        yield path, one, two
