"""Draw Atlantis, and the queries of all tasks about it: `dvc repro atlantis`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.core.files import replacing_folder
from worldwidth.data import make_corpus
from worldwidth.data.cities import load_real_cities, save_cities
from worldwidth.data.make_cities import make_atlantis
from worldwidth.settings.paths import ATLANTIS_CITIES, ATLANTIS_CORPORA
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """params: world, corpus, model, tasks; data/cities.csv -> data/atlantis.csv, data/atlantis/TASK/"""
    scale, cities = settings.selected, make_atlantis(settings.selected.world)
    everywhere = load_real_cities(scale.world) + cities
    with replacing_folder(ATLANTIS_CORPORA) as temporary:
        for task in settings.tasks:
            splits = make_corpus.generate(scale, task, "atlantis", everywhere)
            make_corpus.save(task, "atlantis", splits, temporary / task)
    save_cities(cities, ATLANTIS_CITIES)
    print(f"atlantis: {len(cities)} cities in {ATLANTIS_CITIES}, queries of {len(settings.tasks)} tasks about them")


if __name__ == "__main__":
    run_stage(main)
