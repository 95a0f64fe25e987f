"""The cities tables, of real cities and of Atlantis: their rows, read and written, and every city's id."""

import csv
import io
import itertools
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_text, write_text
from worldwidth.data.random_streams import stream
from worldwidth.settings.paths import ATLANTIS_CITIES, CITIES
from worldwidth.settings.schema import World
from worldwidth.tasks import Integers

_REMEDY = {False: "run `dvc repro cities`", True: "run `dvc repro atlantis`"}


@dataclass(frozen=True, kw_only=True)
class City:
    """One row of the cities table. x, y: units of the plane; city_id: the number in the text."""

    geonameid: int
    name: str
    country_code: str
    region: str
    population: int
    x: int
    y: int
    city_id: int
    is_atlantis: bool


def city_ids(world: World) -> Integers:
    """The number of every city in the text, real ones first, (cities,); what Atlantis's are is not drawn with it."""
    total = world.cities + world.atlantis.cities
    return stream(world.seed, "city_id").choice(10**world.id_digits, size=total, replace=False)


def save_cities(cities: list[City], path: Path) -> None:
    """Write the table as CSV, one heading line and one row a city."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [field.name for field in fields(City)]
    writer.writerow(names)
    writer.writerows([[getattr(city, name) for name in names] for city in cities])
    write_text(path, buffer.getvalue())


def load_cities(world: World) -> list[City]:
    """All cities of ``world``: the real ones, then Atlantis.

    Raises:
        WorldwidthError: a table is missing, not such a table, or that of another world.
    """
    return load_real_cities(world) + _load(world, ATLANTIS_CITIES, is_atlantis=True)


def load_real_cities(world: World, path: Path = CITIES) -> list[City]:
    """The real cities of ``world``, as :func:`save_cities` wrote them.

    Raises:
        WorldwidthError: the file is missing, not such a table, or that of another world.
    """
    return _load(world, path, is_atlantis=False)


def _load(world: World, path: Path, is_atlantis: bool) -> list[City]:
    remedy = _REMEDY[is_atlantis]
    try:
        text = read_text(path)
        header, *rows = csv.reader(io.StringIO(text))
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; {remedy}") from None
    except (OSError, ValueError, csv.Error) as error:  # a UnicodeDecodeError is a ValueError
        raise WorldwidthError(f"{path}: not readable as a table ({error}); {remedy}") from None
    names = [field.name for field in fields(City)]
    if header != names or not text.endswith("\n"):
        raise WorldwidthError(f"{path}: not a whole cities table (columns {', '.join(names)}); {remedy}")
    cities: list[City] = []
    for number, row in enumerate(rows, start=2):
        try:
            values = dict(zip(names, row, strict=True))
            cities.append(
                City(
                    name=values["name"],
                    country_code=values["country_code"],
                    region=values["region"],
                    is_atlantis={"True": True, "False": False}[values["is_atlantis"]],
                    **{key: int(values[key]) for key in ("geonameid", "population", "x", "y", "city_id")},
                )
            )
        except (ValueError, KeyError) as error:
            raise WorldwidthError(f"{path}: row {number} is not a city ({error}); {remedy}") from None
    wanted = city_ids(world)[world.cities :] if is_atlantis else city_ids(world)[: world.cities]
    if len(cities) != len(wanted) or any(city.is_atlantis != is_atlantis for city in cities):
        kind = "cities of Atlantis" if is_atlantis else "real cities"
        raise WorldwidthError(f"{path}: not the {len(wanted)} {kind} that params.yaml asks for; {remedy}")
    if [city.city_id for city in cities] != wanted.tolist():
        raise WorldwidthError(f"{path}: has other ids than world.seed gives; {remedy}")
    return cities


def points(cities: list[City]) -> Integers:
    """x and y of every city: (cities, 2), units of the plane."""
    return np.array([(city.x, city.y) for city in cities], dtype=np.int64)


def first_atlantis(cities: list[City]) -> int:
    """Row of the first Atlantis city; all rows before it are real cities."""
    return len(list(itertools.takewhile(lambda city: not city.is_atlantis, cities)))
