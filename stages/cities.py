"""Write the cities table: `dvc repro cities`."""

from worldwidth.entry import run_stage

from worldwidth import world
from worldwidth.layout import CITIES
from worldwidth.matrix import Matrix


def main(matrix: Matrix) -> None:
    """params: scales.SCALE.world -> data/cities.csv"""
    settings = matrix.selected.world
    world.save(world.build(settings))
    print(f"cities: {settings.cities} real ones and {settings.atlantis.cities} of Atlantis in {CITIES}")


if __name__ == "__main__":
    run_stage(main)
