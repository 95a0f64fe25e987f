"""Draw and encode the queries of one task about ordinary cities: `dvc repro corpus@distance`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.data import make_corpus
from worldwidth.data.cities import load_real_cities
from worldwidth.settings.paths import CORPORA
from worldwidth.settings.schema import Settings


def main(settings: Settings, task: str) -> None:
    """params: world, corpus, model; data/cities.csv -> data/corpora/TASK/"""
    splits = make_corpus.generate(settings.selected, task, "world", load_real_cities(settings.selected.world))
    make_corpus.save(task, "world", splits, CORPORA / task)
    total = sum(len(lines) for _, lines in splits.values())
    print(f"corpus of {task}: {total:,} lines in {CORPORA / task}")


if __name__ == "__main__":
    run_stage(main, "TASK")
