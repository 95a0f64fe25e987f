"""Draw and encode the corpus of one task: `dvc repro corpus@distance`."""

from worldwidth.entry import run_stage

from worldwidth import corpus, world
from worldwidth.layout import CORPORA
from worldwidth.matrix import Matrix


def main(matrix: Matrix, task: str) -> None:
    """params: world, corpus, model; data/cities.csv -> data/corpora/TASK/"""
    splits = corpus.generate(matrix.selected, task, world.load(matrix.selected.world))
    corpus.save(task, splits, CORPORA / task)
    total = sum(len(lines) for _, lines in splits.values())
    print(f"corpus of {task}: {total:,} lines in {CORPORA / task}")


if __name__ == "__main__":
    run_stage(main, "TASK")
