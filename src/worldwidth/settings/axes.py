"""Axes: the settings that a sweep varies and a comparison goes by; reading them, and turning a study to other values.

An axis is a key of the top level (``arch``), or one of the selected scale with dots (``finetuning.learning_rate``).
What an arch does otherwise counts: its own value is read, and a new value replaces that one, too.
"""

import dataclasses
import json
import typing
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.settings.problems import describe
from worldwidth.settings.schema import Arch, Scale, Settings
from worldwidth.settings.strict_yaml import parse_yaml
from worldwidth.settings.values import Scalar

Values = tuple[tuple[str, Scalar], ...]
"""Axes and a value of each."""

ATLANTIS_SEED = "world.atlantis.seed"
_TOP = ("arch", "budget", "seed", "finetuning_budget", "parametrization", "reference", "recipe")
_PARTS = ("world", "corpus", "model", "pretraining", "finetuning", "evaluation", "hardware")
_NAMES = ("arch", "reference", "recipe")
_LAYERS = "model.num_hidden_layers"


@cache
def all_axes() -> tuple[str, ...]:
    """Every axis, in the order in which a run's values are listed."""
    hints = typing.get_type_hints(Scale)
    below = [axis for part in _PARTS for axis in _leaves(hints[part], part)]
    return tuple(dict.fromkeys([*_TOP[:3], ATLANTIS_SEED, *_TOP[3:], *below]))


def _leaves(kind: Any, path: str) -> Iterator[str]:
    """The settings of a dataclass that are one value."""
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from _leaves(hint, f"{path}.{name}")
        elif typing.get_origin(hint) is not tuple:
            yield f"{path}.{name}"


def check_axis(axis: str) -> None:
    """Refuse what is no axis.

    Raises:
        WorldwidthError: it is none.
    """
    if axis not in all_axes():
        raise WorldwidthError(
            f"'{axis}': no setting that can be varied; allowed: {', '.join(_TOP)}, and the single values of "
            f"{', '.join(_PARTS)} of the scale, as finetuning.learning_rate{nearest(axis, all_axes())}"
        )


def parse_value(axis: str, text: str) -> Any:
    """A value of ``axis`` as somebody types it: as in params.yaml, but a name needs no quotes.

    Raises:
        WorldwidthError: it is no number and no text.
    """
    value = text if axis in _NAMES else parse_yaml(text, f"{axis}: '{text}'")
    if not isinstance(value, Scalar):
        raise WorldwidthError(f"{axis}: found '{text}'; a value must be a number, text, true or false")
    return value


def value_of(settings: Settings, axis: str) -> Any:
    """The value of ``axis`` in a study, what its arch does otherwise included."""
    part, _, key = axis.partition(".")
    if not key or part in ("pretraining", "finetuning"):
        found: Any = settings
    elif axis == _LAYERS:
        return settings.sizes.num_hidden_layers
    else:
        found = settings.selected
    for name in axis.split("."):
        found = getattr(found, name)
    return found


def overridden(arch: Arch) -> Iterator[str]:
    """The axes of which an arch has a value of its own."""
    if arch.num_hidden_layers is not None:
        yield _LAYERS
    for part in ("pretraining", "finetuning"):
        yield from (f"{part}.{key}" for key in getattr(arch, part))


def override_key(axis: str) -> str:
    """Where below an arch its own value of ``axis`` is."""
    return axis.removeprefix("model.")


def edits(settings: Settings, values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What to write into params.yaml, and where: dotted key -> value, so that the study has these values."""
    given = dict(values)
    name = given.get("arch", settings.arch)
    arch, scale = settings.selected.archs.get(name), f"scales.{settings.scale}"
    of_arch = {axis: f"{scale}.archs.{name}.{override_key(axis)}" for axis in (overridden(arch) if arch else ())}
    places = (of_arch, _of_recipe(settings, given, name, scale))
    found: dict[str, Any] = {}
    for axis, value in given.items():
        found[axis if axis in _TOP else f"{scale}.{axis}"] = value
        found |= {place[axis]: value for place in places if axis in place}
    return found


def _of_recipe(settings: Settings, given: Mapping[str, Any], arch: str, scale: str) -> dict[str, str]:
    """The axes of which the recipe has values of its own, and where in params.yaml these are."""
    name = given.get("recipe", settings.recipe)
    if name not in settings.selected.recipes:
        return {}
    recipe, path = settings.selected.recipes[name], f"{scale}.recipes.{name}"
    found = {f"finetuning.{key}": f"{path}.finetuning.{key}" for key in recipe.finetuning}
    if arch in recipe.learning_rates:
        found["finetuning.learning_rate"] = f"{path}.learning_rates.{arch}"
    return found


def with_values(settings: Settings, values: Iterable[tuple[str, Any]]) -> Settings:
    """``settings`` turned to these values; the rules between settings are not asked.

    Raises:
        WorldwidthError: a value is none that the setting can have.
    """
    return with_edits(settings, edits(settings, values))


def with_edits(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """``settings`` with other values at some dotted keys of params.yaml.

    Raises:
        WorldwidthError: a value is none that the setting can have.
    """
    adapter = TypeAdapter(Settings)
    plain = json.loads(adapter.dump_json(settings))
    set_keys(plain, changes)
    try:
        return adapter.validate_json(json.dumps(plain))
    except ValidationError as error:
        raise WorldwidthError(describe(error, "", Settings)) from None


def set_keys(values: Any, changes: Mapping[str, Any]) -> None:
    """Set dotted keys inside nested mappings that are there."""
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = values
        for parent in parents:
            node = node[parent]
        node[last] = value


def shortest(value: Any) -> str:
    """A value in as few characters as tell it: 4e-3, 0.5, 42, mup, true."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    exact = Decimal(repr(value)).normalize()
    sign, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    whole = "".join(map(str, digits))
    mantissa = whole[0] + (f".{whole[1:]}" if whole[1:] else "")
    scientific = f"{'-' if sign else ''}{mantissa}e{exponent + len(whole) - 1}"
    return min(scientific, f"{exact:f}", key=len)
