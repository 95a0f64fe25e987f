"""Write the table of real cities: `dvc repro cities`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.data.cities import save_cities
from worldwidth.data.make_cities import make_real_cities
from worldwidth.settings.paths import CITIES
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """params: world -> data/cities.csv"""
    cities = make_real_cities(settings.selected.world, print)
    save_cities(cities, CITIES)
    print(f"cities: {len(cities)} real ones in {CITIES}")


if __name__ == "__main__":
    run_stage(main)
