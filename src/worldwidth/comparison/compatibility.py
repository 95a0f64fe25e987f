"""May these runs be compared? But for the axes they must be the same run, as dvcio/fingerprint.py says what that is.

One run is turned to the other's values of the axes, and must then be that one: so nothing has to be listed here that
may differ with an axis, as the steps do with a budget. Two archs differ in their sizes, and in what either overrides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import listed
from worldwidth.dvcio.experiments import Experiment
from worldwidth.dvcio.fingerprint import Fingerprint, conditions, first_difference
from worldwidth.settings.axes import (
    ATLANTIS_SEED,
    check_axis,
    overridden,
    override_key,
    value_of,
    with_edits,
    with_values,
)
from worldwidth.settings.paths import ATLANTIS_CORPORA
from worldwidth.settings.schema import DEFAULT, Settings

_ALWAYS = ("arch", "seed", "budget", ATLANTIS_SEED)
"""Axes in which any runs may differ."""


def check_comparable(experiments: Sequence[Experiment], axes: tuple[str, ...] = ()) -> None:
    """Refuse runs that differ in more than some axes.

    Args:
        axes: what they are compared by; arch, seed, budget and the Atlantis seed are always among them.

    Raises:
        WorldwidthError: two were made under other conditions; the first difference is named.
    """
    for axis in axes:
        check_axis(axis)
        if _changes_lines(axis):
            _check_one_value(experiments, axis)
    free = tuple(dict.fromkeys([*_ALWAYS, *axes]))
    for one, other in _pairs(experiments):
        for first, second in ((one, other), (other, one)):
            difference = _difference(first, second, free)
            if difference:
                raise WorldwidthError(
                    f"{first.name} and {second.name} cannot be compared: the first ran with {difference}; run the "
                    "sweep again for both, or name with --by what differs on purpose"
                )


def first_that_knows_all(experiments: Sequence[Experiment]) -> Experiment:
    """The first run whose params.yaml has the archs and recipes of all: those of an older one may lack the newest.

    Raises:
        WorldwidthError: there is none.
    """
    archs = {experiment.settings.arch for experiment in experiments}
    recipes = {experiment.settings.recipe for experiment in experiments} - {DEFAULT}
    for experiment in experiments:
        scale = experiment.settings.selected
        if archs <= scale.archs.keys() and recipes <= scale.recipes.keys():
            return experiment
    named = listed(sorted(archs | recipes))
    raise WorldwidthError(f"no experiment has all of {named} in its params.yaml; run one again, or leave one out")


def _changes_lines(axis: str) -> bool:
    """Whether runs with other values of it are scored on other lines."""
    return axis == "evaluation.split" or (axis.startswith(("world.", "corpus.")) and axis != ATLANTIS_SEED)


def _check_one_value(experiments: Sequence[Experiment], axis: str) -> None:
    first = experiments[0]
    for other in experiments[1:]:
        one, two = (value_of(experiment.settings, axis) for experiment in (first, other))
        if one != two:
            raise WorldwidthError(
                f"{axis}: {first.name} has {one} and {other.name} {two}: they are scored on other lines about another "
                "world, so that a difference of scores says nothing; compare runs of one value"
            )


def _pairs(experiments: Sequence[Experiment]) -> Iterator[tuple[Experiment, Experiment]]:
    """Pairs that must agree so that all do: with the first run of the same arch, Atlantis draw, and recipe."""
    of_arch: dict[str, Experiment] = {}
    of_draw: dict[int, Experiment] = {}
    of_recipe: dict[tuple[str, str], Experiment] = {}
    for experiment in experiments:
        settings = experiment.settings
        firsts = (
            of_arch.setdefault(settings.arch, experiment),
            of_draw.setdefault(settings.selected.world.atlantis.seed, experiment),
            of_recipe.setdefault((settings.arch, settings.recipe), experiment),
        )
        yield from ((first, experiment) for first in firsts if first != experiment)
    yield from combinations(of_arch.values(), 2)


def _difference(one: Experiment, other: Experiment, axes: tuple[str, ...]) -> str:
    """What else ``one`` ran with than ``other`` would have, turned to its values of the axes; empty if nothing."""
    mine = conditions(one.lock, one.settings)
    theirs = conditions(other.lock, _turned(other.settings, one.settings, axes))
    if value_of(one.settings, ATLANTIS_SEED) != value_of(other.settings, ATLANTIS_SEED):
        mine, theirs = _without_atlantis(mine), _without_atlantis(theirs)
    return first_difference(mine, theirs)


def _turned(settings: Settings, to: Settings, axes: tuple[str, ...]) -> Settings:
    """``settings`` with the arch of ``to``, and its values of the axes."""
    if settings.scale != to.scale:
        return settings
    if settings.arch != to.arch:
        place = f"scales.{settings.scale}.archs.{to.arch}"
        own = {override_key(axis): value_of(to, axis) for axis in overridden(settings.selected_arch)}
        arch = {place: asdict(to.selected_arch), **{f"{place}.{key}": value for key, value in own.items()}}
        recipe = {f"scales.{settings.scale}.recipes": {name: asdict(one) for name, one in to.selected.recipes.items()}}
        settings = with_edits(settings, arch | recipe)
    elif to.recipe != DEFAULT and to.recipe not in settings.selected.recipes:  # it is younger than this run
        place = f"scales.{settings.scale}.recipes.{to.recipe}"
        settings = with_edits(settings, {place: asdict(to.selected.recipes[to.recipe])})
    return with_values(settings, [(axis, value_of(to, axis)) for axis in axes])


def _without_atlantis(found: Fingerprint) -> Fingerprint:
    """But for the corpora of Atlantis, which are others for every draw."""
    drawn = f"data {ATLANTIS_CORPORA.as_posix()}"
    return {entry: value for entry, value in found.items() if not entry.startswith(drawn)}
