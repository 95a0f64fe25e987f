"""The cities table: its rows, read and written."""

import csv
import io
import itertools
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_text, write_text
from worldwidth.settings.paths import CITIES
from worldwidth.settings.schema import World
from worldwidth.tasks import Integers

_REMEDY = "run `dvc repro cities`"


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


def save_cities(cities: list[City], path: Path = CITIES) -> None:
    """Write the table as CSV, one heading line and one row a city."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [field.name for field in fields(City)]
    writer.writerow(names)
    writer.writerows([[getattr(city, name) for name in names] for city in cities])
    write_text(path, buffer.getvalue())


def load_cities(world: World, path: Path = CITIES) -> list[City]:
    """Read the table that :func:`save_cities` wrote for ``world``.

    Raises:
        WorldwidthError: the file is missing, not such a table, or that of another world.
    """
    try:
        text = read_text(path)
        header, *rows = csv.reader(io.StringIO(text))
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; {_REMEDY}") from None
    except (OSError, ValueError, csv.Error) as error:  # a UnicodeDecodeError is a ValueError
        raise WorldwidthError(f"{path}: not readable as a table ({error}); {_REMEDY}") from None
    names = [field.name for field in fields(City)]
    if header != names or not text.endswith("\n"):
        raise WorldwidthError(f"{path}: not a whole cities table (columns {', '.join(names)}); {_REMEDY}")
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
            raise WorldwidthError(f"{path}: row {number} is not a city ({error}); {_REMEDY}") from None
    atlantis = sum(city.is_atlantis for city in cities)
    if (len(cities) - atlantis, atlantis) != (world.cities, world.atlantis.cities):
        raise WorldwidthError(
            f"{path}: {len(cities) - atlantis} real cities and {atlantis} of Atlantis where params.yaml asks for "
            f"{world.cities} and {world.atlantis.cities}; {_REMEDY}"
        )
    if len({city.city_id for city in cities}) != len(cities):
        raise WorldwidthError(f"{path}: two cities share a city_id; {_REMEDY}")
    return cities


def points(cities: list[City]) -> Integers:
    """x and y of every city: (cities, 2), units of the plane."""
    return np.array([(city.x, city.y) for city in cities], dtype=np.int64)


def first_atlantis(cities: list[City]) -> int:
    """Row of the first Atlantis city; all rows before it are real cities."""
    return len(list(itertools.takewhile(lambda city: not city.is_atlantis, cities)))
