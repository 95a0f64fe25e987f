"""Write the cities table: `dvc repro cities`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.data.cities import save_cities
from worldwidth.data.make_cities import make_cities
from worldwidth.settings.paths import CITIES
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """params: scales.SCALE.world -> data/cities.csv"""
    world = settings.selected.world
    save_cities(make_cities(world, print))
    print(f"cities: {world.cities} real ones and {world.atlantis.cities} of Atlantis in {CITIES}")


if __name__ == "__main__":
    run_stage(main)
